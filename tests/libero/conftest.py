"""One simulator per task for all tests of a run: building one takes seconds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import pytest


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
