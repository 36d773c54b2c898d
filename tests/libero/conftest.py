"""One simulator per task for all tests of a run: building one takes seconds."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator

import pytest

SIMULATED = (
    "test_tasks",
    "test_environment",
    "test_starts",
    "test_rollout",
    "test_demos",
    "test_replay",
    "test_experts",
    "test_experts_grasps",
    "test_experts_servo",
    "test_experts_style",
)


def pytest_ignore_collect(collection_path, config):
    """Leaves out what needs the simulator where it is not installed."""
    missing = importlib.util.find_spec("libero") is None
    return True if missing and collection_path.stem in SIMULATED else None


@pytest.fixture(scope="session")
def environment() -> Iterator[Callable]:
    """Returns a function from (suite, index) to an environment, the same one each time."""
    from rfsq_jax.libero.environment import Environment
    from rfsq_jax.libero.tasks import get_task

    made = []

    @functools.cache
    def make(suite: str, index: int) -> Environment:
        made.append(Environment(get_task(suite, index)))
        return made[-1]

    yield make
    for env in made:
        env.close()
