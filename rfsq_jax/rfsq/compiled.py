"""The jitted programs behind the public functions; arguments are checked.

Axes: ... any leading axes · D latent dims · G codes of a layer · L residual layers · C context.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from rfsq_jax.rfsq import exact, scan
from rfsq_jax.rfsq.config import RFSQConfig
from rfsq_jax.rfsq.layers import (
    AnyArray,
    RFSQState,
    as_stored,
    batch_constants,
    nearest_offset,
    straight_through,
    value_of,
)
from rfsq_jax.rfsq.scan import State

# An eighth of the vectors steers training well enough; `calibrate` measures them all.
TRACKED_STRIDE = 8


@partial(jax.jit, static_argnums=(0, 5))
def quantize(
    config: RFSQConfig,
    state: State,
    z: Float[Array, "*n d"],
    keep: Int[AnyArray, "*n"] | None,
    context: Float[Array, "*n c"] | None,
    train: bool,
) -> tuple[Float[Array, "*n d"], Int[Array, "*n g l"], State]:
    """See `core.quantize`."""
    learned = config.conditioning == "scale"
    result = scan.forward(config, state, z if learned else jax.lax.stop_gradient(z), keep, context)
    if config.conditioning == "conditional":
        z_hat = result.z_hat + exact.with_gradient(jnp.zeros_like(z), z)
    else:
        z_hat = result.z_hat if learned else straight_through(result.z_hat, z)
    if train and config.conditioning == "layernorm" and config.statistics == "frozen":
        state = _track(config, state, jax.lax.stop_gradient(result.residuals))
    return z_hat, scan.layers_last(result.codes), state


@partial(jax.jit, static_argnums=0)
def encode(
    config: RFSQConfig,
    state: State,
    z: Float[Array, "*n d"],
    context: Float[Array, "*n c"] | None,
) -> Int[Array, "*n g l"]:
    """See `core.encode`."""
    return scan.layers_last(scan.forward(config, state, z, context=context).codes)


@partial(jax.jit, static_argnums=(0, 4))
def decode(
    config: RFSQConfig,
    constants: State,
    codes: Shaped[Array, "*n g l"],
    context: Float[Array, "*n c"] | None,
    num_layers: int,
) -> Float[Array, "*n d"]:
    """See `core.decode`."""
    codes = jnp.moveaxis(codes, -1, 0)[:num_layers]
    return scan.decode(config, constants, codes, context)


@partial(jax.jit, static_argnums=0)
def decode_prefixes(
    config: RFSQConfig,
    state: State,
    codes: Shaped[Array, "*n g l"],
    context: Float[Array, "*n c"] | None,
) -> Float[Array, "m *n d"]:
    """See `core.decode_prefixes`."""
    return scan.decode_prefixes(config, state, jnp.moveaxis(codes, -1, 0), context)


@partial(jax.jit, static_argnums=0)
def calibrate(config: RFSQConfig, z: Float[Array, "*n d"]) -> RFSQState:
    """See `core.calibrate`."""

    def layer(residual: Array, _: None) -> tuple[Array, RFSQState]:
        constants = batch_constants(config, residual)
        value = value_of(config, constants, nearest_offset(config, constants, residual))
        return residual - value, constants

    constants = jax.lax.scan(layer, z, None, length=config.num_layers)[1]
    return jax.tree.map(partial(as_stored, config), constants)


def _track(config: RFSQConfig, state: RFSQState, residuals: Float[Array, "l *n d"]) -> RFSQState:
    def move(old: Array, new: Array) -> Array:
        return config.decay * old + (1 - config.decay) * as_stored(config, new)

    if residuals.ndim > 2:
        # The last leading axis is never the one that is split over devices.
        residuals = residuals[..., ::TRACKED_STRIDE, :]
    return jax.tree.map(move, state, jax.vmap(partial(batch_constants, config))(residuals))
