"""One residual layer whose mean and scale are constants: naive, scale, robust.

Axes: ... any leading axes · D latent dims · L residual layers · K levels.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rfsq_jax.rfsq.config import RFSQConfig

AnyArray = Array | np.ndarray

MANTISSA_BITS = 16
# Keeps 1 / step finite where a residual is constant.
SMALLEST_SCALE = 1e-20
PER_TOKEN_EPSILON = 1e-5


class RFSQState(NamedTuple):
    """Per-layer constants; with per-token statistics, one pair for every token and layer.

    Attributes:
      mean: float32 [L, D], the centre of each layer's grid.
      scale: float32 [L, D], half its width.
    """

    mean: Float[Array, "*l"]
    scale: Float[Array, "*l"]


def prepared(z: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """The vectors as they are."""
    return z


def nothing_seen(config: RFSQConfig, shape: tuple[int, ...]) -> Float[Array, "*n d"]:
    """What the codes add up to before the first layer, for vectors with these leading axes."""
    return jnp.zeros((*shape, config.dim), jnp.float32)


def condition(
    config: RFSQConfig,
    layer: RFSQState,
    context: None,
    residual: Float[Array, "*n d"] | None,
    seen: Float[Array, "*n d"],
) -> tuple[RFSQState, Float[Array, "*n d"]]:
    """The layer's constants as they are stored; with per-token statistics, those of the residual.

    A decoder has no residual: the constants it is given are the side information.
    """
    if config.statistics == "per_token" and residual is not None:
        layer = token_constants(residual)
    return layer, seen


def see(
    seen: Float[Array, "*n d"], value: Float[Array, "*n d"], offset: Float[Array, "*n d"]
) -> Float[Array, "*n d"]:
    """Adds up the values."""
    return seen + value


def expected(constants: RFSQState | None, seen: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """What the codes so far decode to."""
    return seen


def reported(constants: RFSQState) -> RFSQState:
    """Both constants."""
    return constants


def batch_constants(config: RFSQConfig, residual: Float[Array, "*n d"]) -> RFSQState:
    """The statistics of each dim over all leading axes, which are kept with size one."""
    tokens = tuple(range(residual.ndim - 1))
    scale = config.spread * jnp.std(residual, axis=tokens, keepdims=True)
    mean = jnp.mean(residual, axis=tokens, keepdims=True)
    return RFSQState(mean, jnp.maximum(scale, SMALLEST_SCALE))


def broadcastable(state: RFSQState, rank: int) -> RFSQState:
    """Stored constants [L, D] as [L, 1, ..., 1, D], for latents of that rank."""
    return jax.tree.map(lambda c: c.reshape(c.shape[0], *[1] * (rank - 1), c.shape[-1]), state)


def as_stored(config: RFSQConfig, constant: Float[Array, "l *ones d"]) -> Float[Array, "l d"]:
    """The inverse of `broadcastable` for one array."""
    return constant.reshape(config.num_layers, config.dim)


def token_constants(residual: Float[Array, "*n d"]) -> RFSQState:
    """The reference's statistics: mean and standard deviation over the dims of each vector."""
    scale = jnp.std(residual, axis=-1, keepdims=True, ddof=1) + PER_TOKEN_EPSILON
    return RFSQState(jnp.mean(residual, axis=-1, keepdims=True), scale)


def nearest_offset(
    config: RFSQConfig, constants: RFSQState, residual: Float[Array, "*n d"]
) -> Float[Array, "*n d"]:
    """The offsets from the middle, in levels, nearest to a residual; the gradient is a clip's."""
    # A product with 1 / step, not a quotient: compilers turn quotients into products at will.
    position = (residual - constants.mean) * (1.0 / step_size(config, constants.scale))
    half = (config.num_levels - 1) / 2
    centred = jnp.round(position) if config.num_levels % 2 else jnp.floor(position) + 0.5
    offset = jax.lax.stop_gradient(jnp.clip(centred, -half, half))
    return straight_through(offset, jnp.clip(position, -half, half))


def value_of(
    config: RFSQConfig, constants: RFSQState, offset: Float[Array, "*n d"]
) -> Float[Array, "*n d"]:
    """The values of one layer's offsets, whole or between levels."""
    return offset * step_size(config, constants.scale) + constants.mean


def step_size(config: RFSQConfig, scale: Float[Array, "*d"]) -> Float[Array, "*d"]:
    """The distance between levels, with few enough mantissa bits that small multiples are exact."""
    step = scale * np.float32(2.0 / (config.num_levels - 1))
    dropped = 23 - (MANTISSA_BITS - 1)
    bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(step), jnp.uint32)
    bits = (bits + np.uint32(1 << (dropped - 1))) & np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)
    return straight_through(jax.lax.bitcast_convert_type(bits, jnp.float32), step)


def straight_through(value: Float[Array, "*n"], source: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Exactly `value` in the forward pass, with the gradient of `source` in the backward pass."""
    return value + (source - jax.lax.stop_gradient(source))
