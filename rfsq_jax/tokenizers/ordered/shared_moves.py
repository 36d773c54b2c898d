"""What a token does to a belief.

A regular id refines the coefficients of largest deviation, in as many levels each as the grid has
that promises to remove most variance; an escape sets one coefficient of any.

Axes: ... any leading axes · A action dims · T frequencies · P grids · *gn the G
coefficients of a grid before any leading axes.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rfsq_jax.tokenizers.ordered.shared_config import Escapes, SharedConfig
from rfsq_jax.tokenizers.ordered.shared_network import (
    CELL,
    LEAST_STEPS,
    MOST_STEPS,
    TAIL,
    UNSEEN,
    Belief,
    SharedParams,
    as_values,
    scale,
    within,
)


class Choice(NamedTuple):
    """The coefficients that a regular id refines, and how; places that a grid lacks hold one level.

    Attributes:
      chosen: which coefficient each place is; none where there are too few.
      steps: its log2 deviation.
      shape: of its distribution.
      radix: the index into `SharedConfig.radices`.
    """

    chosen: Bool[Array, "*gn a t"]
    steps: Float[Array, "*gn"]
    shape: Int[Array, "*gn"]
    radix: Int[Array, "*gn"]


class Layout(NamedTuple):
    """Static: the ids of a chunk, and the place of each coefficient, low frequencies first."""

    escapes: Escapes
    order: Int[np.ndarray, "a t"]


def layout(config: SharedConfig, horizon: int, action_dim: int) -> Layout:
    """Of chunks [horizon, action_dim]; frequencies beyond have places, but are not coded."""
    order = np.arange(config.horizon)[None] * action_dim + np.arange(action_dim)[:, None]
    return Layout(Escapes.of(config, horizon, action_dim), order.astype(np.int32))


def places(ids: Layout, like: Array) -> Int[Array, "... a t"]:
    """The place of each coefficient, of as many axes as `like`."""
    return jnp.asarray(ids.order).reshape((1,) * (like.ndim - 2) + ids.order.shape)


def choose(
    config: SharedConfig, ids: Layout, belief: Belief, present: Bool[Array, "*n a t"]
) -> Choice:
    """The coefficients of largest deviation, ties by place, and the grid that promises most."""
    size, place = ids.order.size, places(ids, belief.steps)
    keys = (belief.steps.astype(jnp.int32) - LEAST_STEPS) * size + (size - 1 - place)
    keys = jnp.where(present, keys, -1)
    chosen, steps = [], []
    for _ in range(config.num_refined):
        largest = jnp.max(keys, axis=(-2, -1), keepdims=True)
        here = (keys == largest) & (largest >= 0)
        keys = jnp.where(here, -1, keys)
        chosen.append(here)
        steps.append(largest[..., 0, 0] // size + LEAST_STEPS)
    chosen, steps = jnp.stack(chosen), jnp.stack(steps)
    shape = jnp.sum(jnp.where(chosen, belief.shape[None], 0.0), axis=(-2, -1)).astype(jnp.int32)
    table = jnp.asarray(config.grid_radices)
    radix = jnp.moveaxis(table[_best_grid(config, steps, shape)], -1, 0)
    return Choice(chosen, steps.astype(jnp.float32), shape, radix)


def _best_grid(
    config: SharedConfig, steps: Int[Array, "*gn"], shape: Int[Array, "*gn"]
) -> Int[Array, "*n"]:
    """The grid that removes most variance, in integers; the first of equals."""
    below = jnp.clip(steps[:1] - steps, 0, 63)
    table = np.round(2.0**10 * 2.0 ** (-np.arange(64) / 4)).astype(np.int32)
    variance = jnp.asarray(table)[below]
    in_cell = shape == CELL
    promised = [
        sum(
            jnp.where(cell, int(uniform), int(gaussian)) * each
            for gaussian, uniform, cell, each in zip(*worth, in_cell, variance, strict=True)
        )
        for worth in zip(*config.worth, strict=True)
    ]
    return jnp.argmax(jnp.stack(promised), axis=0)


def levels_of(config: SharedConfig, choice: Choice, ids: Int[Array, "*n"]) -> Float[Array, "*gn"]:
    """Regular ids -> offsets from the middle level; what is left over of an id is dropped."""
    radices = jnp.asarray(np.array(config.radices, np.int32))[choice.radix]
    offsets, rest = [], ids
    for radix in radices:
        offsets.append(rest % radix - radix // 2)
        rest = rest // radix
    return jnp.stack(offsets).astype(jnp.float32)


def moved(
    config: SharedConfig,
    params: SharedParams,
    ids: Layout,
    belief: Belief,
    choice: Choice,
    token: Int[Array, "*n"],
) -> Belief:
    """The belief after a token."""
    offsets = levels_of(config, choice, token)
    regular = _refined(config, params, belief, choice, offsets)
    escaped = _escaped(ids, belief, jnp.maximum(token - config.num_regular, 0))
    is_regular = (token < config.num_regular)[..., None, None]
    return jax.tree.map(lambda a, b: jnp.where(is_regular, a, b), regular, escaped)


def half_widths(config: SharedConfig, choice: Choice) -> Float[Array, "*gn"]:
    """The outer level of each place."""
    return jnp.asarray(np.array(config.radices, np.float32) // 2)[choice.radix]


def level_values(
    params: SharedParams, choice: Choice, offsets: Float[Array, "*gn"]
) -> Float[Array, "*gn"]:
    """What levels add to the means."""
    return as_values(offsets * scale(step_steps(params, choice)))


def step_steps(params: SharedParams, choice: Choice) -> Int[Array, "*gn"]:
    """log2 of the distance between levels, in eighths."""
    return (choice.steps + jnp.round(params.spread)[choice.shape, choice.radix]).astype(jnp.int32)


def _refined(
    config: SharedConfig,
    params: SharedParams,
    belief: Belief,
    choice: Choice,
    offsets: Float[Array, "*gn"],
) -> Belief:
    half = half_widths(config, choice)
    is_outer = is_outermost(config, choice, offsets)
    after = jnp.where(half > 0, jnp.round(steps_after(params, choice, is_outer)), 0.0)
    known = jnp.where(is_outer & (choice.shape != CELL), TAIL, CELL)
    # Each coefficient is chosen once at most: the sums only pick.
    values, changes, shape = (
        jnp.sum(jnp.where(choice.chosen, each[..., None, None], 0.0), axis=0)
        for each in (level_values(params, choice, offsets), after, jnp.where(half > 0, known, 0))
    )
    return Belief(
        as_values(belief.mean + values),
        within(belief.steps + changes),
        jnp.where(shape > UNSEEN, shape, belief.shape),
    )


def is_outermost(
    config: SharedConfig, choice: Choice, offsets: Float[Array, "*gn"]
) -> Bool[Array, "*gn"]:
    """Which levels are the first or the last of their grid."""
    half = half_widths(config, choice)
    return (jnp.abs(offsets) == half) & (half > 0)


def steps_after(
    params: SharedParams, choice: Choice, is_outer: Bool[Array, "*gn"]
) -> Float[Array, "*gn"]:
    """What levels change the log2 deviations by."""
    place = (choice.shape, choice.radix)
    return jnp.where(is_outer, params.outer[place], params.inner[place])


def _escaped(ids: Layout, belief: Belief, escape: Int[Array, "*n"]) -> Belief:
    escapes = ids.escapes
    escape = (escape % escapes.count)[..., None, None]
    magnitude = escape % escapes.magnitudes
    negative = escape // escapes.magnitudes % 2 == 1
    here = places(ids, belief.steps) == escape // (2 * escapes.magnitudes)
    steps = magnitude_steps(escapes, belief, magnitude)
    value = as_values(scale(steps))
    after = steps + jnp.asarray(np.array(escapes.error_steps, np.int32))[magnitude]
    mean = as_values(belief.mean + jnp.where(negative, -value, value))
    # The last magnitude stands for all that is beyond it, too.
    shape = jnp.where(magnitude < escapes.magnitudes - 1, CELL, TAIL).astype(jnp.float32)
    moved = Belief(mean, within(after.astype(jnp.float32)), jnp.broadcast_to(shape, mean.shape))
    return jax.tree.map(lambda new, old: jnp.where(here, new, old), moved, belief)


def magnitude_steps(
    escapes: Escapes, belief: Belief, magnitude: Int[Array, "*n #a #t"]
) -> Int[Array, "*n a t"]:
    """log2 of what an escape adds, in eighths; beyond the limit several escapes add up."""
    steps = belief.steps.astype(jnp.int32) + escapes.first + magnitude * escapes.spacing
    return jnp.minimum(steps, MOST_STEPS)
