"""Which token an encoder takes: the one that removes more squared error.

Everything is counted in integers, so that every program takes the same.

Axes: ... any leading axes · A action dims · T frequencies · V ids · *gn the G coefficients of a
grid before any leading axes.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rfsq_jax.rfsq import exact
from rfsq_jax.tokenizers.ordered.shared_config import SharedConfig
from rfsq_jax.tokenizers.ordered.shared_moves import (
    Choice,
    Layout,
    half_widths,
    level_values,
    magnitude_steps,
    places,
    step_steps,
)
from rfsq_jax.tokenizers.ordered.shared_network import (
    OCTAVE,
    Belief,
    SharedParams,
    as_values,
    log_steps,
    scale,
)

POSITION_BITS = 10
"""Binary places of a residual over the power of two below a step, and of the rest of the step."""
ESCAPE_PRICE = 12
"""An escape must remove so many quarters of what levels do: they also help the tokens to come."""
GAIN_BITS = 12
"""Of the largest residual, where squared errors are compared."""
NO_GAIN = -(2**30)
"""Of an id that does not exist."""


def best_token(
    config: SharedConfig,
    params: SharedParams,
    ids: Layout,
    belief: Belief,
    choice: Choice,
    residual: Float[Array, "*n a t"],
    escape_price: int = ESCAPE_PRICE,
) -> Int[Array, "*n"]:
    """The id that removes more squared error: the nearest levels, or the best escape."""
    unit = gain_unit(residual)
    levels = _nearest_levels(config, params, choice, residual, unit)
    gain = jnp.sum(levels.gains[0], axis=0)
    escape, escape_gain = _best_escape(config, ids, belief, residual, unit[..., None, None])
    return jnp.where(escape_gain > (gain >> 2) * escape_price, escape, levels.token)


def continuations(
    config: SharedConfig,
    params: SharedParams,
    ids: Layout,
    belief: Belief,
    choice: Choice,
    residual: Float[Array, "*n a t"],
    unit: Float[Array, "*n"],
) -> tuple[Int[Array, "*n v"], Int[Array, "*n v"]]:
    """Several ids that may come next, and what they gain; `NO_GAIN` where one is none.

    The nearest levels, those one level up or down in one place, and the best escape, whose gain
    counts by `ESCAPE_PRICE`, as it does where one token is chosen.
    """
    levels = _nearest_levels(config, params, choice, residual, unit)
    here, *beside = levels.gains
    gain = jnp.sum(here, axis=0)
    tokens, gains = [levels.token[None]], [gain[None]]
    for sign, there in zip((1, -1), beside, strict=True):
        tokens.append(levels.token[None] + sign * levels.place)
        gains.append(jnp.where(there == NO_GAIN, NO_GAIN, gain[None] - here + there))
    escape, escape_gain = _best_escape(config, ids, belief, residual, unit[..., None, None])
    tokens.append(escape[None])
    gains.append(jnp.where(escape_gain < 0, NO_GAIN, 4 * (escape_gain // ESCAPE_PRICE))[None])
    ids_last, gains_last = (jnp.moveaxis(jnp.concatenate(each), 0, -1) for each in (tokens, gains))
    return ids_last, gains_last


class _Levels(NamedTuple):
    """The nearest levels of a grid.

    Attributes:
      token: their id.
      place: by what an id grows with one level, in each place.
      gains: of the nearest levels, and of those one up and one down, `NO_GAIN` beyond the last.
    """

    token: Int[Array, "*n"]
    place: Int[Array, "*gn"]
    gains: tuple[Int[Array, "*gn"], Int[Array, "*gn"], Int[Array, "*gn"]]


def _nearest_levels(
    config: SharedConfig,
    params: SharedParams,
    choice: Choice,
    residual: Float[Array, "*n a t"],
    unit: Float[Array, "*n"],
) -> _Levels:
    picked = jnp.sum(jnp.where(choice.chosen, residual, 0.0), axis=(-2, -1))
    offsets, half = nearest(config, params, choice, picked), half_widths(config, choice)

    def gain(offset: Float[Array, "*gn"]) -> Int[Array, "*gn"]:
        found = _gain(picked, level_values(params, choice, offset), unit[None])
        return jnp.where(jnp.abs(offset) > half, NO_GAIN, found)

    radices = jnp.asarray(np.array(config.radices, np.int32))[choice.radix]
    place = jnp.cumprod(jnp.concatenate([jnp.ones_like(radices[:1]), radices[:-1]]), axis=0)
    token = jnp.sum((offsets + half).astype(jnp.int32) * place, axis=0)
    return _Levels(token, place, (gain(offsets), gain(offsets + 1), gain(offsets - 1)))


def nearest(
    config: SharedConfig, params: SharedParams, choice: Choice, residual: Float[Array, "*gn"]
) -> Float[Array, "*gn"]:
    """The nearest levels; products of integers, so that no program rounds otherwise."""
    steps = step_steps(params, choice)
    inverse = np.round(2.0**POSITION_BITS * 2.0 ** (-np.arange(OCTAVE) / OCTAVE))
    unit = exact.power_of_two(POSITION_BITS - 2 - (steps >> 3))
    coarse = exact.limited(jnp.round(residual * unit), 2.0**14)
    rest = jnp.asarray(inverse, jnp.float32)[steps & (OCTAVE - 1)]
    position = jnp.round(coarse * rest * 2.0 ** (2 - 2 * POSITION_BITS))
    half = half_widths(config, choice)
    return jnp.clip(position, -half, half)


def _best_escape(
    config: SharedConfig,
    ids: Layout,
    belief: Belief,
    residual: Float[Array, "*n a t"],
    unit: Float[Array, "*n 1 1"],
) -> tuple[Int[Array, "*n"], Int[Array, "*n"]]:
    """The escape that removes most squared error, the least id of equals, and what it removes."""
    escapes, order = ids.escapes, places(ids, residual)
    size, first = jnp.abs(residual), belief.steps.astype(jnp.int32) + escapes.first
    spacing = escapes.spacing
    nearest = (2 * (log_steps(size) - first) + 1 + spacing) // (2 * spacing)
    magnitude = jnp.clip(nearest, 0, escapes.magnitudes - 1)
    value = as_values(scale(magnitude_steps(escapes, belief, magnitude)))
    allowed = (order < escapes.coded) & (size > 0)
    gain = jnp.where(allowed, _gain(size, value, unit), -1)
    best = jnp.max(gain, axis=(-2, -1), keepdims=True)
    name = (order * 2 + (residual < 0)) * escapes.magnitudes + magnitude + config.num_regular
    token = jnp.min(jnp.where(gain == best, name, jnp.iinfo(jnp.int32).max), axis=(-2, -1))
    return token, best[..., 0, 0]


def gain_unit(residual: Float[Array, "*n a t"]) -> Float[Array, "*n"]:
    """One over the power of two with which the largest residual has `GAIN_BITS` bits."""
    largest = jnp.maximum(jnp.max(jnp.abs(residual), axis=(-2, -1)), 2.0**-exact.VALUE_BITS)
    return exact.power_of_two(GAIN_BITS - 1 - (log_steps(largest) >> 3))


def _gain(
    residual: Float[Array, "*n"], value: Float[Array, "*n"], unit: Float[Array, "*m"]
) -> Int[Array, "*n"]:
    """The squared error that subtracting a value removes, in squared units."""
    error = jnp.round(residual * unit).astype(jnp.int32)
    taken = jnp.clip(jnp.round(value * unit), -(2.0**13), 2.0**13).astype(jnp.int32)
    return taken * (2 * error - taken)
