"""Where episodes begin: random placements for choosing, the 50 official ones for reporting."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from rfsq_jax.libero.environment import Environment, seeded_numpy
from rfsq_jax.libero.install import quiet
from rfsq_jax.libero.stock import RandomizationError
from rfsq_jax.libero.tasks import Start, official_init_states
from rfsq_jax.runs.checks import require

PLACEMENT_TRIES = 20


def random_start(env: Environment, seed: int, *, placement_margin: float = 0.0) -> Start:
    """Draws a placement from the task's own regions, never from the official initial states.

    Args:
      env: the task.
      seed: the same seed gives the same start.
      placement_margin: metres by which each movable object's region grows on all sides.

    Raises:
      ValueError: if `placement_margin` is negative.
      RuntimeError: if the objects do not fit into their regions.
    """
    require(placement_margin >= 0, "placement_margin", "at least 0 m", placement_margin)
    with seeded_numpy(seed), _grown_regions(env.domain, placement_margin):
        _reset_until_placed(env)
    return Start(env.simulator_state, env.fixtures, seed)


def official_start(env: Environment, index: int) -> Start:
    """Returns the official initial state `index`, with the fixtures where the protocol puts them.

    The protocol seeds once and resets before each episode in order, and the stored states do not
    hold the fixtures: episode `index` has them where reset number `index + 1` leaves them.

    Raises:
      ValueError: if there is no such initial state.
    """
    states = official_init_states(env.task)
    require(0 <= index < len(states), "index", f"in 0..{len(states) - 1}", index)
    # The stock environment draws more each time: a hard reset adds its property samplers again.
    once = env.domain.object_property_initializers
    with seeded_numpy(0):
        for past_resets in range(index + 1):
            drawn = once * (past_resets + 2)
            with _changed(env.domain, "object_property_initializers", drawn):
                _reset_until_placed(env)
    return Start(states[index].copy(), env.fixtures, index)


def _reset_until_placed(env: Environment) -> None:
    for _ in range(PLACEMENT_TRIES):
        env.unplace_fixtures()
        with quiet(), contextlib.suppress(RandomizationError):
            env.domain.reset()
            return
    raise RuntimeError(f"{env.task.name}: no placement fits after {PLACEMENT_TRIES} tries")


@contextlib.contextmanager
def _grown_regions(domain: Any, margin: float) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for sampler in domain.placement_initializer.samplers.values():
            if any(thing.name in domain.fixtures_dict for thing in sampler.mujoco_objects):
                continue
            for name in ("x_ranges", "y_ranges"):
                grown = [(low - margin, high + margin) for low, high in getattr(sampler, name)]
                stack.enter_context(_changed(sampler, name, grown))
        yield


@contextlib.contextmanager
def _changed(thing: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(thing, name)
    setattr(thing, name, value)
    try:
        yield
    finally:
        setattr(thing, name, before)
