"""Conditioning as a function: each layer's mean, directions and steps follow from coarser codes.

    x_0 = 0, memory_0 = 0
    mean_l, U_l, step_l, memory_{l+1} = network_l(x_l, codes of layer l-1, memory_l, context)
    k_l = nearest levels of U_l^T (z - x_l - mean_l) / (|U_l|^2 step_l)     normalise, quantise
    x_{l+1} = x_l + mean_l + U_l (step_l * offset of k_l)                 denormalise
    z_hat of the first l layers = x_l + mean_l

G directions U_l take the place of the D dims, so a layer has G codes. `mean_l` is what the codes so
far let expect of the rest: it belongs to every prefix, that of no codes too. The decoder computes
all of it from the codes, so codes alone decode. Close to QINCo (Huijben et al. 2024, arXiv
2401.14732), with a grid in place of learned codebooks. All arithmetic is exact, see `rfsq.exact`:
the same codes and values in every program.

Axes: ... any leading axes · D dims · G directions · L layers · C context · H hidden · I inputs.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from rfsq_jax.rfsq import exact
from rfsq_jax.rfsq.config import RFSQConfig

SUM_BITS = exact.ACTIVATION_BITS + exact.WEIGHT_BITS
CODE_UNIT = 2.0 ** (exact.ACTIVATION_BITS - 2)
"""An activation for each level; levels between, of even grids, are still integers."""
REACH_BITS = 5
"""Residuals are told apart up to 2**5 times a layer's unit."""
DIRECTION_BITS = 6
"""Binary places of the entries of a direction."""
MOST_STEP_CHANGE = 4 * exact.SCALE_STEPS
"""What a network may add to log_step, in steps of the table: a factor of 16."""


class Networks(NamedTuple):
    """The networks and the constants they add to: what is trained. The last has a mean only.

    Attributes:
      mean: [L + 1, D].
      directions: [L + 1, D, G], of length one.
      log_step: [L + 1, G], log2 of the distance between levels.
      w_in: [L + 1, I, H], and b_in [L + 1, H]: of the first linear map.
      w_memory: [L + 1, H, H], and b_memory [L + 1, H]: of the one that adds to the memory.
      w_out: [L + 1, H, D + G + D * G], and b_out [L + 1, D + G + D * G]: of the last.
    """

    mean: Float[Array, "*l d"]
    directions: Float[Array, "*l d g"]
    log_step: Float[Array, "*l g"]
    w_in: Shaped[Array, "*l i h"]
    b_in: Float[Array, "*l h"]
    w_memory: Shaped[Array, "*l h h"]
    b_memory: Float[Array, "*l h"]
    w_out: Shaped[Array, "*l h o"]
    b_out: Float[Array, "*l o"]


class ConditionalState(NamedTuple):
    """Networks, and their units, which stay as they were measured.

    Attributes:
      networks: see `Networks`; the weights (w_...) are float in training, int8 once frozen.
      residual_unit: int32 [L + 1], log2 of a residual's magnitude: of what networks add to means.
      input_unit: int32 [L + 1, D], log2 of each dim's magnitude: of what networks see.
    """

    networks: Networks
    residual_unit: Int[Array, "*l"]
    input_unit: Int[Array, "*l d"]


class Statistics(NamedTuple):
    """What one layer normalises by, for every vector; directions as integers."""

    mean: Float[Array, "*n d"]
    directions: Float[Array, "*n d g"]
    step: Float[Array, "*n g"]
    unit: Int[Array, ""]


class Seen(NamedTuple):
    """What the codes so far say; the same in encoder and decoder."""

    total: Float[Array, "*n d"]
    memory: Float[Array, "*n h"]
    offset: Float[Array, "*n g"]


def prepared(z: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """The nearest values, see `exact`; what is beyond them saturates."""
    return exact.as_values(z)


def nothing_seen(config: RFSQConfig, shape: tuple[int, ...]) -> Seen:
    """Before the first layer, for vectors with these leading axes."""
    sizes = (config.dim, config.hidden_dim, config.codes_per_layer)
    return Seen(*(jnp.zeros((*shape, size), jnp.float32) for size in sizes))


def condition(
    config: RFSQConfig,
    layer: ConditionalState,
    context: Float[Array, "*n c"] | None,
    residual: Float[Array, "*n d"] | None,
    seen: Seen,
) -> tuple[Statistics, Seen]:
    """Runs one layer's network; returns its statistics, and what is seen with the new memory.

    Args:
      config: the quantiser.
      layer: its slice of the state.
      context: what is known besides, such as other tokens, of the order of one; None for nothing.
      residual: not looked at, since a decoder has none.
      seen: of the coarser codes.
    """
    shift = exact.power_of_two(exact.ACTIVATION_BITS - layer.input_unit)
    decoded = exact.limited(
        exact.rounded(seen.total * exact.like(shift, seen.total)), exact.LARGEST
    )
    told = jnp.zeros((*decoded.shape[:-1], 0)) if context is None else context
    codes = exact.limited(seen.offset * CODE_UNIT, exact.LARGEST)
    inputs = jnp.concatenate([decoded, exact.as_activations(told), seen.memory, codes], axis=-1)
    net = layer.networks
    hidden = exact.hard_gelu(exact.to_activations(exact.linear(inputs, net.w_in, net.b_in)))
    added = exact.to_activations(exact.linear(hidden, net.w_memory, net.b_memory))
    memory = exact.limited(seen.memory + added, exact.LARGEST)
    sums = exact.linear(exact.hard_gelu(memory), net.w_out, net.b_out)
    return _statistics(config, layer, sums), seen._replace(memory=memory)


def nearest_offset(
    config: RFSQConfig, constants: Statistics, residual: Float[Array, "*n d"]
) -> Float[Array, "*n g"]:
    """The offsets from the middle, in levels, that are nearest to a residual."""
    # So few bits that the sum of the products is exact; what is beyond takes the outer levels.
    bits = (exact.LARGEST_SUM // (2 * exact.LARGEST_WEIGHT * config.dim)).bit_length() - 1
    coarse, unit = coarsened(constants, residual - constants.mean, bits)
    along = jnp.einsum("...d,...dg->...g", coarse, constants.directions)
    squared = jnp.einsum("...dg,...dg->...g", constants.directions, constants.directions)
    position = along * (unit * 2.0**DIRECTION_BITS) / (constants.step * jnp.maximum(squared, 1.0))
    half = (config.num_levels - 1) / 2
    nearest = jnp.round(position) if config.num_levels % 2 else jnp.floor(position) + 0.5
    offset = jnp.clip(nearest, -half, half)
    # The gradient goes on for half a level, so that a grid too narrow learns to widen.
    return exact.with_gradient(offset, jnp.clip(position, -half - 0.5, half + 0.5))


def coarsened(
    constants: Statistics, residual: Float[Array, "*n d"], bits: int
) -> tuple[Float[Array, "*n d"], Float[Array, ""]]:
    """A residual as integers of so many bits, and the power of two that is their unit."""
    unit = exact.power_of_two(constants.unit + (REACH_BITS - bits))
    return exact.limited(exact.rounded(residual / unit), 2.0**bits), unit


def value_of(
    config: RFSQConfig, constants: Statistics, offset: Float[Array, "*n g"]
) -> Float[Array, "*n d"]:
    """One layer's mean and levels."""
    # Products of few bits, rounded one by one: their sum is exact.
    moved = constants.directions * (offset * constants.step)[..., None, :] * 2.0**-DIRECTION_BITS
    return constants.mean + jnp.sum(exact.as_values(moved), axis=-1)


def see(seen: Seen, value: Float[Array, "*n d"], offset: Float[Array, "*n g"]) -> Seen:
    """Adds one layer."""
    return Seen(exact.limited(seen.total + value, exact.LARGEST_VALUE), seen.memory, offset)


def expected(constants: Statistics, seen: Seen) -> Float[Array, "*n d"]:
    """What the codes so far decode to: their sum, and the mean of what is left."""
    return seen.total + constants.mean


def reported(constants: Statistics) -> Float[Array, "*n d"]:
    """The mean; directions would fill the memory."""
    return constants.mean


def _statistics(
    config: RFSQConfig, layer: ConditionalState, sums: Float[Array, "*n o"]
) -> Statistics:
    """Adds what a network says to a layer's constants."""
    dim, codes = config.dim, config.codes_per_layer
    net = layer.networks
    mean, log_step, directions = jnp.split(sums, [dim, dim + codes], axis=-1)
    mean = exact.as_values(mean * exact.power_of_two(layer.residual_unit - SUM_BITS))
    change = exact.rounded(log_step * (exact.SCALE_STEPS * 2.0**-SUM_BITS))
    change = exact.limited(change, MOST_STEP_CHANGE)
    steps = exact.like(exact.rounded(net.log_step * exact.SCALE_STEPS), change) + change
    directions = directions.reshape(*directions.shape[:-1], dim, codes)
    turn = exact.rounded(directions * 2.0 ** (DIRECTION_BITS - SUM_BITS))
    own = exact.like(exact.rounded(net.directions * 2.0**DIRECTION_BITS), turn)
    directions = exact.limited(own + turn, exact.LARGEST_WEIGHT)
    return Statistics(
        mean=exact.as_values(exact.like(exact.as_values(net.mean), mean) + mean),
        directions=directions,
        step=exact.scales(steps - _length_steps(directions)),
        unit=layer.residual_unit,
    )


def _length_steps(directions: Float[Array, "*n d g"]) -> Float[Array, "*n g"]:
    """log2 of the length of each direction, in steps of the table of scales."""
    squared = jnp.maximum(jnp.einsum("...dg,...dg->...g", directions, directions), 1.0)
    smooth = (exact.SCALE_STEPS / 2) * jnp.log2(squared) - exact.SCALE_STEPS * DIRECTION_BITS
    # Exponent and two bits of the mantissa are four times a logarithm that is linear in between.
    bits = jax.lax.bitcast_convert_type(squared, jnp.int32) >> 21
    steps = (bits - (127 << 2)).astype(jnp.float32) - exact.SCALE_STEPS * DIRECTION_BITS
    return exact.with_gradient(steps, smooth)
