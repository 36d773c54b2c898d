"""The shared path's network: refines what is believed of every coefficient, token after token.

A belief is a mean and a log2 deviation per coefficient, and what is known of its distribution. One
network, the same for every dim, moves both; it sees its own dim and the average of the others, so
any number of dims in any order will do.
All arithmetic is exact (`rfsq.exact`): means are multiples of 2**-16 below 2**7, deviations are
integers, eighths of an octave.

Axes: ... any leading axes · A action dims · T frequencies · F features · H hidden · J blocks ·
R numbers of levels · K shapes.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from rfsq_jax.rfsq import exact
from rfsq_jax.tokenizers.ordered.shared_config import SharedConfig

LARGEST = 2.0**7
"""Of values: ten times the normalised range, over 64 steps."""
OCTAVE = exact.SCALE_STEPS
LEAST_STEPS, MOST_STEPS = -10 * OCTAVE, 7 * OCTAVE
"""Of log2 deviations: no coefficient is believed to be known better than to 2**-10."""
MEAN_BITS = 8
"""Binary places of what the network adds to a mean, in deviations."""
MOST_MEAN = 3.0 * 2**MEAN_BITS
MOST_CHANGE = 4.0 * OCTAVE
UNSEEN, TAIL, CELL = 0, 1, 2
"""What a coefficient's distribution looks like: as the prior's; beyond the outer level of a grid;
within two levels, where it is nearly uniform, so that the levels of the next grid lie closer."""
SHAPES = 3
SHAPE_UNIT = 64.0
WEIGHT_NAMES = ("w_in", "w_own", "w_others", "w_out")
"""The parameters that are int8 once frozen."""
POOL_BITS = 13
"""Binary places of one over the number of dims."""


class SharedParams(NamedTuple):
    """What is trained; weights (w_...) are float in training, int8 once frozen.

    Attributes:
      w_in: [F, H], and b_in [H]: of the first linear map.
      w_own: [J, H, H], w_others [J, H, H] and b_block [J, H]: of the residual blocks.
      w_out: [H, 2 T], and b_out [2 T]: what is added to means and log2 deviations.
      spread: [K, R], log2 of the distance between levels, over the deviation, in eighths.
      inner: [K, R], of the deviation after a level that is no outer one, over that before.
      outer: [K, R], of that after an outer level.
    """

    w_in: Shaped[Array, "f h"]
    b_in: Float[Array, " h"]
    w_own: Shaped[Array, "j h h"]
    w_others: Shaped[Array, "j h h"]
    b_block: Float[Array, "j h"]
    w_out: Shaped[Array, "h o"]
    b_out: Float[Array, " o"]
    spread: Float[Array, "k r"]
    inner: Float[Array, "k r"]
    outer: Float[Array, "k r"]


class Belief(NamedTuple):
    """What is believed of every coefficient; the same in encoder and decoder.

    Attributes:
      mean: values.
      steps: log2 deviations, integers in float32.
      shape: UNSEEN, TAIL or CELL, in float32.
    """

    mean: Float[Array, "*n a t"]
    steps: Float[Array, "*n a t"]
    shape: Float[Array, "*n a t"]


class Start(NamedTuple):
    """The belief before the first token, and which coefficients there are."""

    belief: Belief
    present: Bool[Array, "*n a t"]


def init(config: SharedConfig, key: jax.Array) -> SharedParams:
    """Parameters of a network that changes nothing, with the best grids for Gaussians."""
    features, hidden, blocks = 5 * config.horizon + 1, config.hidden_dim, config.num_blocks
    keys = jax.random.split(key, 3)

    def fresh(key: jax.Array, *shape: int) -> Float[Array, "..."]:
        return jax.random.normal(key, shape) / np.sqrt(shape[-2])

    levels = np.array(config.radices[1:])
    gaussian = np.log2(2.2 * np.log(levels) ** 0.86 / (levels - 1)) * OCTAVE
    uniform = np.log2(np.sqrt(12.0) / levels) * OCTAVE
    spread = np.stack([gaussian, gaussian, uniform])
    after = spread - OCTAVE * np.log2(np.sqrt(12.0))

    def constants(known: np.ndarray) -> Float[Array, "k r"]:
        return jnp.asarray(np.pad(known, ((0, 0), (1, 0))), jnp.float32)

    return SharedParams(
        w_in=fresh(keys[0], features, hidden),
        b_in=jnp.zeros(hidden),
        w_own=fresh(keys[1], blocks, hidden, hidden),
        w_others=fresh(keys[2], blocks, hidden, hidden),
        b_block=jnp.zeros((blocks, hidden)),
        w_out=jnp.zeros((hidden, 2 * config.horizon)),
        b_out=jnp.zeros(2 * config.horizon),
        spread=constants(spread),
        inner=constants(after),
        outer=constants(np.concatenate([np.maximum(after[:CELL], -11.0), after[CELL:]])),
    )


def frozen(params: SharedParams) -> SharedParams:
    """The same function with its weights as the integers that they are used as, int8."""
    return params._replace(**{name: exact.frozen(getattr(params, name)) for name in WEIGHT_NAMES})


def as_values(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The nearest multiples of 2**-16 within the limits."""
    places = 2.0**exact.VALUE_BITS
    return exact.limited(exact.rounded(x * places) / places, LARGEST)


def scale(steps: Int[Array, "*n"]) -> Float[Array, "*n"]:
    """2 ** (steps / 8), of eight mantissa bits, over all of float32's range."""
    zero = -exact.SCALE_RANGE[0] * OCTAVE
    mantissas = jnp.asarray(exact.scale_table()[zero : zero + OCTAVE])
    return mantissas[steps & (OCTAVE - 1)] * exact.power_of_two(steps >> 3)


def log_steps(magnitude: Float[Array, "*n"]) -> Int[Array, "*n"]:
    """About 8 * log2 of a magnitude, rounded down: exponent and three bits of the mantissa."""
    bits = jax.lax.bitcast_convert_type(magnitude, jnp.int32)
    return (bits >> 20) - (127 << 3)


def started(
    mean: Float[Array, "*n a t"], deviation: Float[Array, "*n a t"], present: Bool[Array, "*n a t"]
) -> Start:
    """The belief that a prior is; absent coefficients are zero, and never change."""
    steps = jnp.clip(log_steps(deviation), LEAST_STEPS, MOST_STEPS).astype(jnp.float32)
    belief = Belief(
        jnp.where(present, as_values(mean), 0.0),
        jnp.where(present, steps, 1.0 * LEAST_STEPS),
        jnp.full_like(steps, UNSEEN),
    )
    return Start(belief, present)


def refine(
    config: SharedConfig,
    params: SharedParams,
    start: Start,
    belief: Belief,
    token: Int[Array, ""],
) -> Belief:
    """What the network makes of a belief after `token` tokens."""
    hidden = _hidden(params, _features(start, belief, token), start.present.any(axis=-1))
    sums = exact.linear(hidden, params.w_out, params.b_out)
    mean, steps = jnp.split(sums, [config.horizon], axis=-1)
    shift = exact.limited(exact.rounded(mean * 2.0 ** (MEAN_BITS - exact.SUM_BITS)), MOST_MEAN)
    moved = as_values(shift * (scale(belief.steps.astype(jnp.int32)) * 2.0**-MEAN_BITS))
    change = exact.limited(exact.rounded(steps * (OCTAVE * 2.0**-exact.SUM_BITS)), MOST_CHANGE)
    return Belief(
        jnp.where(start.present, exact.limited(belief.mean + moved, LARGEST), 0.0),
        jnp.where(start.present, within(belief.steps + change), 1.0 * LEAST_STEPS),
        belief.shape,
    )


def within(steps: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Log2 deviations within their limits."""
    return jnp.clip(steps, LEAST_STEPS, MOST_STEPS)


def _features(start: Start, belief: Belief, token: Int[Array, ""]) -> Float[Array, "*n a f"]:
    """Activations: the mean's way so far, in first deviations and absolutely; all else known."""
    moved = belief.mean - start.belief.mean
    octave = jnp.maximum(start.belief.steps.astype(jnp.int32) >> 3, -5)
    relative = exact.rounded(moved * exact.power_of_two(exact.ACTIVATION_BITS - 1 - octave))
    absolute = exact.rounded(moved * 2.0**exact.ACTIVATION_BITS)
    scales = (2.0 * (steps - LEAST_STEPS) - 64.0 for steps in (belief.steps, start.belief.steps))
    count = jnp.broadcast_to((6.0 * token - 64.0).astype(jnp.float32), moved.shape[:-1])[..., None]
    shape = (belief.shape - TAIL) * SHAPE_UNIT
    features = jnp.concatenate([relative, absolute, *scales, shape, count], axis=-1)
    return exact.limited(features, exact.LARGEST)


def _hidden(
    params: SharedParams, features: Float[Array, "*n a f"], present: Bool[Array, "*n a"]
) -> Float[Array, "*n a h"]:
    known = present[..., None].astype(jnp.float32)
    share = jnp.round(2.0**POOL_BITS / jnp.maximum(jnp.sum(known, axis=-2, keepdims=True), 1.0))
    hidden = _positive(exact.linear(features, params.w_in, params.b_in))
    for own, others, bias in zip(params.w_own, params.w_others, params.b_block, strict=True):
        total = jnp.sum(hidden * known, axis=-2, keepdims=True)
        pooled = exact.rounded(total * share * 2.0**-POOL_BITS)
        told = exact.to_activations(exact.linear(pooled, others, bias))
        sums = exact.to_activations(exact.linear(hidden, own, jnp.zeros_like(bias)))
        hidden = exact.limited(hidden + jnp.maximum(sums + told, 0.0), exact.LARGEST)
    return hidden


def _positive(sums: Float[Array, "*n"]) -> Float[Array, "*n"]:
    return jnp.maximum(exact.to_activations(sums), 0.0)
