"""What the quantiser takes: latents and codes, checked at the border."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Shaped

from rfsq_jax.rfsq.config import RFSQConfig


def check_latents(config: RFSQConfig, z: Any) -> Float[Array, "*n d"]:
    """Returns z as float32 if it is [..., D] and (outside of a trace) finite."""
    z = jnp.asarray(z)
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise TypeError(f"z must be floating point, got {z.dtype}")
    if z.ndim < 1 or z.shape[-1] != config.dim:
        raise ValueError(f"z must have shape [..., {config.dim}], got {z.shape}")
    if not isinstance(z, Tracer) and not bool(jnp.isfinite(z).all()):
        count = int(jnp.sum(~jnp.isfinite(z)))
        raise ValueError(f"z must be finite, got {count} NaN or inf of {z.size} values")
    return z.astype(jnp.float32)


def check_codes(config: RFSQConfig, codes: Any) -> Int[Array, "*n d l"]:
    """Returns codes as int32 if they are [..., D, 1 to L] and (outside of a trace) in [0, K)."""
    codes = codes if isinstance(codes, jax.Array) else np.asarray(codes)
    require_codes(config, codes)
    return jnp.asarray(codes).astype(jnp.int32)


def require_codes(config: RFSQConfig, codes: Shaped[Array | np.ndarray, "..."]) -> None:
    """Raises unless codes are integers [..., D, 1 to L] and (outside of a trace) in [0, K)."""
    if not jnp.issubdtype(codes.dtype, jnp.integer):
        raise TypeError(f"codes must be integers, got {codes.dtype}")
    shape_fits = codes.ndim >= 2 and codes.shape[-2] == config.dim
    if not (shape_fits and 1 <= codes.shape[-1] <= config.num_layers):
        expected = f"[..., {config.dim}, 1 to {config.num_layers}]"
        raise ValueError(f"codes must have shape {expected}, got {codes.shape}")
    if not isinstance(codes, Tracer) and codes.size:
        low, high = int(codes.min()), int(codes.max())
        if low < 0 or high >= config.num_levels:
            raise ValueError(f"codes must be in [0, {config.num_levels}), got {low} to {high}")
