"""One residual layer, and the scan over all of them.

Axes: ... any leading axes · D latent dims · L residual layers · K levels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

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


class Pass(NamedTuple):
    """All layers of one forward pass, layer axis first."""

    z_hat: Float[Array, "*n d"]
    residuals: Float[Array, "l *n d"]
    codes: Int[Array, "l *n d"]
    constants: RFSQState


def forward(
    config: RFSQConfig,
    state: RFSQState,
    z: Float[Array, "*n d"],
    keep: Int[AnyArray, "*n"] | None = None,
) -> Pass:
    """Runs all layers; `keep` of them count toward z_hat."""

    def layer(carry: tuple[Array, Array], inputs: tuple[Array, RFSQState]) -> tuple[Any, Any]:
        (residual, total), (index, constants) = carry, inputs
        if config.statistics == "per_token":
            constants = token_constants(residual)
        code, value = quantize_layer(config, constants, residual)
        kept = value if keep is None else jnp.where(index < keep[..., None], value, 0.0)
        return (residual - value, total + kept), (residual, code, constants)

    inputs = (jnp.arange(config.num_layers), broadcastable(state, z.ndim))
    carry, outputs = jax.lax.scan(layer, (z, jnp.zeros_like(z)), inputs, unroll=True)
    return Pass(carry[1], *outputs)


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


def layers_last(codes: Int[Array, "l *n d"]) -> Int[Array, "*n d l"]:
    """Moves the layer axis to the end; as a stack it fuses with the scan, a transpose does not."""
    return jnp.stack([*codes], axis=-1)


def token_constants(residual: Float[Array, "*n d"]) -> RFSQState:
    """The reference's statistics: mean and standard deviation over the dims of each vector."""
    scale = jnp.std(residual, axis=-1, keepdims=True, ddof=1) + PER_TOKEN_EPSILON
    return RFSQState(jnp.mean(residual, axis=-1, keepdims=True), scale)


def quantize_layer(
    config: RFSQConfig, constants: RFSQState, residual: Float[Array, "*n d"]
) -> tuple[Int[Array, "*n d"], Float[Array, "*n d"]]:
    """Returns one layer's codes and their values; the gradient is that of a clip to the grid."""
    step = step_size(config, constants.scale)
    # A product with 1 / step, not a quotient: compilers turn quotients into products at will.
    position = (residual - constants.mean) * (1.0 / step)
    half = (config.num_levels - 1) / 2
    centred = jnp.round(position) if config.num_levels % 2 else jnp.floor(position) + 0.5
    offset = jax.lax.stop_gradient(jnp.clip(centred, -half, half))
    code = (offset + half).astype(jnp.int32)
    value = straight_through(offset, jnp.clip(position, -half, half)) * step + constants.mean
    return code, value


def dequantize(
    config: RFSQConfig, constants: RFSQState, code: Shaped[Array, "*n d"]
) -> Float[Array, "*n d"]:
    """The values of one layer's codes, or of levels between them."""
    offset = code.astype(jnp.float32) - (config.num_levels - 1) / 2
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
