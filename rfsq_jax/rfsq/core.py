"""quantize, encode, decode, calibrate: the public functions around the layers.

Axes: ... any leading axes · D latent dims · L residual layers · K levels.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from rfsq_jax.rfsq.config import (
    RFSQConfig,
    check_codes,
    check_latents,
    check_num_layers,
    require_vectors,
)
from rfsq_jax.rfsq.layers import (
    AnyArray,
    RFSQState,
    as_stored,
    batch_constants,
    broadcastable,
    dequantize,
    forward,
    layers_last,
    quantize_layer,
    straight_through,
)
from rfsq_jax.runs.checks import require

# An eighth of the vectors steers training well enough; `calibrate` measures them all.
TRACKED_STRIDE = 8


def init(config: RFSQConfig) -> RFSQState:
    """Returns the state that makes every layer the plain grid on [-1, 1]."""
    shape = (config.num_layers, config.dim)
    return RFSQState(mean=jnp.zeros(shape), scale=jnp.ones(shape))


def quantize(
    config: RFSQConfig,
    state: RFSQState,
    z: Shaped[AnyArray, "*n d"],
    *,
    train: bool = False,
    keep: Int[AnyArray, "*n"] | None = None,
) -> tuple[Float[Array, "*n d"], Int[Array, "*n d l"], RFSQState]:
    """Quantises z with a straight-through gradient.

    Args:
      config: the quantiser.
      state: its constants. With conditioning "scale" the gradient reaches `state.scale`.
      z: [..., D] latents.
      train: with conditioning "layernorm", also moves the constants toward this batch's statistics.
      keep: how many layers to add up for each vector (quantiser dropout); all of them by default.

    Returns:
      z_hat float32 [..., D], codes int32 [..., D, L], and the state (moved if `train`).

    Raises:
      TypeError: if z is not floating point.
      ValueError: if z has another trailing dim, or (outside of a trace) holds NaN or inf; if there
        is nothing to train on.
    """
    z = check_latents(config, z)
    if train:
        require_vectors(z)
    return _quantize(config, state, z, keep, train)


def encode(
    config: RFSQConfig, state: RFSQState, z: Shaped[AnyArray, "*n d"]
) -> Int[Array, "*n d l"]:
    """Returns the codes int32 [..., D, L] of z [..., D], none of none; raises as `quantize`."""
    return _encode(config, state, check_latents(config, z))


def decode(
    config: RFSQConfig,
    state: RFSQState,
    codes: Shaped[AnyArray, "*n d l"],
    num_layers: int | None = None,
    side: RFSQState | None = None,
) -> Float[Array, "*n d"]:
    """Returns z_hat float32 [..., D] of the first `num_layers` layers of the codes.

    Args:
      config: the quantiser.
      state: its constants.
      codes: int [..., D, L'], L' <= L.
      num_layers: how many layers to add up; all that are given by default.
      side: `token_statistics` of the latents; only with, and demanded by, statistics="per_token".

    Raises:
      ValueError: on a wrong shape, missing side information, or (outside of a trace) a code outside
        [0, K).
      TypeError: if the codes or num_layers are not integers.
    """
    codes = check_codes(config, codes)
    used = check_num_layers(num_layers, codes.shape[-1])
    needs_side = config.statistics == "per_token"
    if needs_side != (side is not None):
        need = "needs" if needs_side else "does not take"
        raise ValueError(f'decode with statistics="{config.statistics}" {need} side information')
    return _decode(config, state if side is None else side, codes, used)


def decode_levels(
    config: RFSQConfig, state: RFSQState, levels: Float[AnyArray, "*n d l"]
) -> Float[Array, "*n d"]:
    """Decodes levels between the codes, such as the expected level of a predicted distribution.

    Decoding is affine in each layer's level, so expected levels give the expected vector, whatever
    the layers' dependence on each other.

    Args:
      config: the quantiser; its statistics must be frozen.
      state: its constants.
      levels: float [..., D, L'], L' <= L, each 0 to K - 1.

    Returns:
      float32 [..., D]; at whole levels what `decode` gives.

    Raises:
      ValueError: on a wrong shape, or for per-token statistics.
    """
    require(config.statistics == "frozen", "statistics", "'frozen'", config.statistics)
    fits = levels.ndim > 1 and levels.shape[-2] == config.dim
    if not fits or not 1 <= levels.shape[-1] <= config.num_layers:
        expected = f"[..., {config.dim}, 1 to {config.num_layers}]"
        raise ValueError(f"levels must have shape {expected}, got {levels.shape}")
    return _decode(config, state, jnp.asarray(levels), levels.shape[-1])


def calibrate(config: RFSQConfig, z: Shaped[AnyArray, "*n d"]) -> RFSQState:
    """Measures, layer by layer, the constants that ship in the checkpoint.

    Args:
      config: the quantiser; conditioning "none" and "scale" have nothing to measure.
      z: [..., D] latents of the whole training set.

    Raises:
      ValueError: as `quantize`; also without any z, or for a conditioning or statistics that z does
        not determine.
    """
    if config.conditioning != "layernorm" or config.statistics != "frozen":
        got = f"{config.conditioning!r} with statistics {config.statistics!r}"
        raise ValueError(
            f"calibrate expects conditioning 'layernorm', statistics 'frozen', got {got}"
        )
    z = check_latents(config, z)
    require_vectors(z)
    return _calibrate(config, z)


def token_statistics(config: RFSQConfig, z: Shaped[AnyArray, "*n d"]) -> RFSQState:
    """Returns the per-token side information: mean and scale, float32 [L, ..., 1] each."""
    require(config.statistics == "per_token", "statistics", "'per_token'", config.statistics)
    return forward(config, init(config), check_latents(config, z)).constants


@partial(jax.jit, static_argnums=(0, 4))
def _quantize(
    config: RFSQConfig,
    state: RFSQState,
    z: Float[Array, "*n d"],
    keep: Int[AnyArray, "*n"] | None,
    train: bool,
) -> tuple[Float[Array, "*n d"], Int[Array, "*n d l"], RFSQState]:
    learned = config.conditioning == "scale"
    result = forward(config, state, z if learned else jax.lax.stop_gradient(z), keep)
    z_hat = result.z_hat if learned else straight_through(result.z_hat, z)
    if train and config.conditioning == "layernorm" and config.statistics == "frozen":
        state = _track(config, state, jax.lax.stop_gradient(result.residuals))
    return z_hat, layers_last(result.codes), state


@partial(jax.jit, static_argnums=0)
def _encode(config: RFSQConfig, state: RFSQState, z: Float[Array, "*n d"]) -> Int[Array, "*n d l"]:
    return layers_last(forward(config, state, z).codes)


@partial(jax.jit, static_argnums=(0, 3))
def _decode(
    config: RFSQConfig, constants: RFSQState, codes: Shaped[Array, "*n d l"], num_layers: int
) -> Float[Array, "*n d"]:
    def layer(total: Array, inputs: tuple[Array, RFSQState]) -> tuple[Array, None]:
        code, layer_constants = inputs
        return total + dequantize(config, layer_constants, code), None

    codes = jnp.moveaxis(codes, -1, 0)[:num_layers]
    if config.statistics == "frozen":
        constants = broadcastable(constants, codes.ndim - 1)
    constants = jax.tree.map(lambda constant: constant[:num_layers], constants)
    start = jnp.zeros(codes.shape[1:], jnp.float32)
    return jax.lax.scan(layer, start, (codes, constants), unroll=True)[0]


@partial(jax.jit, static_argnums=0)
def _calibrate(config: RFSQConfig, z: Float[Array, "*n d"]) -> RFSQState:
    def layer(residual: Array, _: None) -> tuple[Array, RFSQState]:
        constants = batch_constants(config, residual)
        return residual - quantize_layer(config, constants, residual)[1], constants

    constants = jax.lax.scan(layer, z, None, length=config.num_layers)[1]
    return jax.tree.map(partial(as_stored, config), constants)


def _track(config: RFSQConfig, state: RFSQState, residuals: Float[Array, "l *n d"]) -> RFSQState:
    def move(old: Array, new: Array) -> Array:
        return config.decay * old + (1 - config.decay) * as_stored(config, new)

    if residuals.ndim > 2:
        # The last leading axis is never the one that is split over devices.
        residuals = residuals[..., ::TRACKED_STRIDE, :]
    return jax.tree.map(move, state, jax.vmap(partial(batch_constants, config))(residuals))
