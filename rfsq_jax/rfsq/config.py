"""The shape of the code and how each layer is conditioned."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Shaped

from rfsq_jax.runs.array_checks import as_floats, as_integers
from rfsq_jax.runs.canonical import added
from rfsq_jax.runs.checks import (
    MAX_DEPTH,
    MAX_SIZE,
    require,
    require_choice,
    require_int,
    require_range,
)
from rfsq_jax.runs.records import require_types

Conditioning = Literal["none", "scale", "layernorm", "conditional"]
Statistics = Literal["frozen", "per_token"]

# What papers and tables call them.
CONDITIONING_NAMES: dict[Conditioning, str] = {
    "none": "naive",
    "scale": "scale",
    "layernorm": "robust",
}
"""Of those that are constants of a layer, which an autoencoder can be trained around."""

# Leaves room for an exact product of a step with a level's offset, see `layers.step_size`.
MAX_LEVELS = 128
# A residual uniform within one step fills the next grid exactly at sqrt(3) standard deviations.
DEFAULT_SPREAD = math.sqrt(3.0)
# What the exact sums of conditional layers have room for, see `exact`.
MAX_DIRECTIONS = 6
MAX_CONDITIONAL_DIM = 1024
MAX_HIDDEN_DIM = 1024


@dataclasses.dataclass(frozen=True)
class RFSQConfig:
    """The shape of the code and how each layer is conditioned.

    Attributes:
      dim: latent dims D, at most 65,536.
      num_layers: residual layers L, at most 1024.
      num_levels: levels K per layer, 2 to 128.
      conditioning: "none" (naive), "scale" (learned scales), "layernorm" (robust): constants of a
        layer; "conditional": functions of the coarser codes, see `rfsq.conditional`.
      statistics: "frozen" constants, or "per_token" for parity with reference checkpoints (there
        `decode` needs the side information that the codes do not carry).
      spread: half the width of a layer's grid, in standard deviations of its residual.
      decay: how much of the tracked statistics survives one training step.
      num_directions: with "conditional", directions of a layer, which has a code for each, 1 to 6.
      hidden_dim: with "conditional", width of its networks.
      context_dim: with "conditional", numbers that the networks are told besides the codes.
    """

    dim: int = 16
    num_layers: int = 8
    num_levels: int = 7
    conditioning: Conditioning = "layernorm"
    statistics: Statistics = "frozen"
    spread: float = DEFAULT_SPREAD
    decay: float = 0.99
    num_directions: int = added(4)
    hidden_dim: int = added(128)
    context_dim: int = added(0)

    def __post_init__(self) -> None:
        require_choice(self.conditioning, Conditioning, "conditioning")
        require_choice(self.statistics, Statistics, "statistics")
        require_types(self)
        require_range(self, 1, MAX_SIZE, "dim")
        require_range(self, 1, MAX_DEPTH, "num_layers")
        in_range = 2 <= self.num_levels <= MAX_LEVELS
        require(in_range, "num_levels", f"2 to {MAX_LEVELS}", self.num_levels)
        per_token_fits = self.statistics == "frozen" or self.conditioning == "layernorm"
        expected = '"layernorm" where statistics="per_token"'
        require(per_token_fits, "conditioning", expected, self.conditioning)
        require(self.spread > 0, "spread", "above 0", self.spread)
        require(0 <= self.decay < 1, "decay", "in [0, 1)", self.decay)
        require_range(self, 1, MAX_DIRECTIONS, "num_directions")
        require_range(self, 1, MAX_HIDDEN_DIM, "hidden_dim")
        require_range(self, 0, MAX_HIDDEN_DIM, "context_dim")
        if self.conditioning == "conditional":
            require_range(self, 1, MAX_CONDITIONAL_DIM, "dim")
            few = self.num_directions <= self.dim
            require(few, "num_directions", f"at most dim ({self.dim})", self.num_directions)

    @property
    def fewest_layers(self) -> int:
        """Of codes that decode: conditional layers expect something of no code too."""
        return 0 if self.conditioning == "conditional" else 1

    @property
    def codes_per_layer(self) -> int:
        """G directions if conditional, else the D latent dims."""
        return self.num_directions if self.conditioning == "conditional" else self.dim


def config_from_reference(options: dict[str, Any]) -> RFSQConfig:
    """Translates a reference experiment's options, where `use_layernorm` chose robust or naive.

    Raises:
      ValueError: if an option is unknown, or `use_layernorm` and `conditioning` are both given.
    """
    options = dict(options)
    if "use_layernorm" in options:
        if "conditioning" in options:
            raise ValueError("expected use_layernorm or conditioning, got both")
        options["conditioning"] = "layernorm" if options.pop("use_layernorm") else "none"
    known = {field.name for field in dataclasses.fields(RFSQConfig)}
    unknown = sorted(options.keys() - known)
    if unknown:
        raise ValueError(f"unknown RFSQ options {unknown}, expected some of {sorted(known)}")
    return RFSQConfig(**options)


def check_latents(config: RFSQConfig, z: Any) -> Float[Array, "*n d"]:
    """Returns z as float32 if it is [..., D] and (outside of a trace) finite; [0, D] is fine.

    Raises:
      TypeError: if z is not floating point.
      ValueError: on another shape, values masked, NaN or inf, or what float32 does not reach.
    """
    z = jnp.asarray(z if isinstance(z, jax.Array) else as_floats(z, "z"))
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise TypeError(f"z must be floating point, got {z.dtype}")
    if z.ndim < 1 or z.shape[-1] != config.dim:
        raise ValueError(f"z must have shape [..., {config.dim}], got {z.shape}")
    if not isinstance(z, Tracer) and not bool(jnp.isfinite(z).all()):
        count = int(jnp.sum(~jnp.isfinite(z)))
        raise ValueError(f"z must be finite, got {count} NaN or inf of {z.size} values")
    return z.astype(jnp.float32)


def check_context(
    config: RFSQConfig, context: Any, leading: tuple[int, ...]
) -> Float[Array, "*n c"] | None:
    """Returns the context as float32 if it is [*leading, C] and (outside of a trace) finite.

    Raises:
      TypeError: if it is not floating point.
      ValueError: on another shape, NaN or inf, or if one is missing or not wanted.
    """
    if config.conditioning != "conditional" or config.context_dim == 0:
        require(context is None, "context", "none, since context_dim is 0", "one")
        return None
    expected = f"[..., {config.context_dim}]"
    require(context is not None, "context", f"given, {expected}", None)
    context = jnp.asarray(
        context if isinstance(context, jax.Array) else as_floats(context, "context")
    )
    shape = (*leading, config.context_dim)
    require(context.shape == shape, "context", f"of shape {shape}", context.shape)
    finite = isinstance(context, Tracer) or bool(jnp.isfinite(context).all())
    require(finite, "context", "finite", "NaN or inf")
    return context.astype(jnp.float32)


def check_codes(config: RFSQConfig, codes: Any) -> Int[Array, "*n d l"]:
    """Returns codes as int32 if they are [..., D, 1 to L] and (outside of a trace) in [0, K).

    Raises:
      TypeError: if the codes are not integers.
      ValueError: on another shape, values masked, or a code outside [0, K).
    """
    codes = codes if isinstance(codes, jax.Array) else as_integers(codes, "codes")
    require_codes(config, codes)
    return jnp.asarray(codes, jnp.int32)


def check_num_layers(num_layers: Any, given: int, fewest: int = 1) -> int:
    """Returns how many of the layers that codes have are to be decoded; all for None.

    Raises:
      TypeError: if it is no integer.
      ValueError: if it is below `fewest` or above `given`.
    """
    if num_layers is None:
        return given
    require_int(num_layers, "num_layers")
    in_range = fewest <= num_layers <= given
    require(in_range, "num_layers", f"{fewest} to {given}", num_layers)
    return int(num_layers)


def require_vectors(z: Shaped[Array | np.ndarray, "..."]) -> None:
    """Raises a ValueError unless there is something to measure."""
    if not z.size:
        raise ValueError(f"z must hold at least one vector, got shape {z.shape}")


def require_codes(config: RFSQConfig, codes: Shaped[Array | np.ndarray, "..."]) -> None:
    """Raises unless codes are integers [..., D, 1 to L] and (outside of a trace) in [0, K)."""
    if not jnp.issubdtype(codes.dtype, jnp.integer):
        raise TypeError(f"codes must be integers, got {codes.dtype}")
    width, fewest = config.codes_per_layer, config.fewest_layers
    shape_fits = codes.ndim >= 2 and codes.shape[-2] == width
    if not (shape_fits and fewest <= codes.shape[-1] <= config.num_layers):
        expected = f"[..., {width}, {fewest} to {config.num_layers}]"
        raise ValueError(f"codes must have shape {expected}, got {codes.shape}")
    if not isinstance(codes, Tracer) and codes.size:
        low, high = int(codes.min()), int(codes.max())
        if low < 0 or high >= config.num_levels:
            raise ValueError(f"codes must be in [0, {config.num_levels}), got {low} to {high}")
