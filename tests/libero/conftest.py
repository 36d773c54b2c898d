"""Simulators that the tests of a run share: building one takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.memory import give_back


@pytest.fixture(scope="package")
def environment() -> Iterator[Callable]:
    """Returns a function from (suite, index) to an environment; keeps the last two."""
    from rfsq_jax.libero.environment import Environment
    from rfsq_jax.libero.tasks import get_task

    made: dict[tuple[str, int], Environment] = {}

    def make(suite: str, index: int) -> Environment:
        key = (suite, index)
        env = made.pop(key, None) or Environment(get_task(suite, index))
        # The latest is last.
        made[key] = env
        if len(made) > 2:
            made.pop(next(iter(made))).close()
            give_back()
        return env

    yield make
    while made:
        made.popitem()[1].close()
    give_back()
