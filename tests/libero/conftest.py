"""A simulator that tests of a run share: building one takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.memory import give_back


@pytest.fixture(scope="package")
def environment() -> Iterator[Callable]:
    """Returns a function from (suite, index) to an environment; keeps the last."""
    from rfsq_jax.libero.environment import Environment
    from rfsq_jax.libero.tasks import get_task

    made: dict[tuple[str, int], Environment] = {}

    def make(suite: str, index: int) -> Environment:
        if (suite, index) not in made:
            close()
            made[suite, index] = Environment(get_task(suite, index))
            # Building takes more than a gigabyte for a while.
            give_back()
        return made[suite, index]

    def close() -> None:
        while made:
            made.popitem()[1].close()
        give_back()

    yield make
    close()
