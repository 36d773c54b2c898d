"""Where episodes begin: random placements for choosing, the 50 official ones for reporting."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from rfsq_jax.libero.environment import Environment, seeded_numpy
from rfsq_jax.libero.install import quiet
from rfsq_jax.libero.start import Start
from rfsq_jax.libero.stock import RandomizationError
from rfsq_jax.libero.tasks import official_init_states
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
    if not 0 <= index < len(states):
        raise ValueError(f"index must be in 0..{len(states) - 1}, got {index}")
    with seeded_numpy(0):
        for past_resets in range(index + 1):
            with _grown_property_samplers(env.domain, past_resets):
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
def _grown_property_samplers(domain: Any, past_resets: int) -> Iterator[None]:
    """Draws as often as the stock environment, where each hard reset adds its samplers again."""
    once = domain.object_property_initializers
    domain.object_property_initializers = once * (past_resets + 2)
    try:
        yield
    finally:
        domain.object_property_initializers = once


@contextlib.contextmanager
def _grown_regions(domain: Any, margin: float) -> Iterator[None]:
    samplers = [
        sampler
        for sampler in domain.placement_initializer.samplers.values()
        if not any(thing.name in domain.fixtures_dict for thing in sampler.mujoco_objects)
    ]
    before = [(sampler.x_ranges, sampler.y_ranges) for sampler in samplers]
    try:
        for sampler in samplers:
            sampler.x_ranges = [_grow(bounds, margin) for bounds in sampler.x_ranges]
            sampler.y_ranges = [_grow(bounds, margin) for bounds in sampler.y_ranges]
        yield
    finally:
        for sampler, (x_ranges, y_ranges) in zip(samplers, before, strict=True):
            sampler.x_ranges, sampler.y_ranges = x_ranges, y_ranges


def _grow(bounds: Any, margin: float) -> tuple[float, float]:
    low, high = bounds
    return low - margin, high + margin
