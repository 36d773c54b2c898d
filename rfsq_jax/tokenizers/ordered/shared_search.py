"""Which token an encoder takes: the one that removes more squared error.

Everything is counted in integers, so that every program takes the same.

Axes: ... any leading axes · A action dims · T frequencies · *gn the G coefficients of a grid
before any leading axes.
"""

from __future__ import annotations

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
    unit = _gain_unit(residual)
    picked = jnp.sum(jnp.where(choice.chosen, residual, 0.0), axis=(-2, -1))
    offsets = nearest(config, params, choice, picked)
    values = level_values(params, choice, offsets)
    gain = jnp.sum(_gain(picked, values, unit[None]), axis=0)
    escape, escape_gain = _best_escape(config, ids, belief, residual, unit[..., None, None])
    radices = jnp.asarray(np.array(config.radices, np.int32))[choice.radix]
    token, place = jnp.zeros_like(escape), jnp.ones_like(escape)
    for offset, radix in zip(offsets.astype(jnp.int32), radices, strict=True):
        token = token + (offset + radix // 2) * place
        place = place * radix
    return jnp.where(escape_gain > (gain >> 2) * escape_price, escape, token)


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


def _gain_unit(residual: Float[Array, "*n a t"]) -> Float[Array, "*n"]:
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
