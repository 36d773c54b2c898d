"""Residual finite scalar quantisation: layer l quantises what layers 0..l-1 left over.

    r_0 = z
    k_l = nearest level of (r_l - mean_l) / step_l          normalise, quantise
    v_l = (k_l - (K - 1) / 2) * step_l + mean_l             denormalise
    r_{l+1} = r_l - v_l
    z_hat = v_0 + v_1 + ... + v_{L-1}

The K levels are uniform on [mean - scale, mean + scale], so step = 2 * scale / (K - 1).
`mean` and `scale` are constants of the trained model ("layernorm", "scale") or 0 and 1 ("none"):
codes alone decode. Source: arXiv 2508.15860 (v3), section on conditioning strategies.

Bit-exactness: a step keeps 16 mantissa bits, so that (level offset) * step is exact in float32 and
the compiler's choice of fused or separate multiply-add cannot change a value between two programs.

Axes: ... any leading axes · D latent dims · L residual layers · K levels.
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

Conditioning = Literal["none", "scale", "layernorm"]
Statistics = Literal["frozen", "per_token"]
AnyArray = Array | np.ndarray

MANTISSA_BITS = 16
MAX_LEVELS = 2 ** (23 - MANTISSA_BITS)
# Keeps 1 / step finite where a residual is constant.
SMALLEST_SCALE = 1e-20
PER_TOKEN_EPSILON = 1e-5
# A residual that is uniform within one step fills the next grid exactly at sqrt(3) standard deviations.
DEFAULT_SPREAD = math.sqrt(3.0)


@dataclasses.dataclass(frozen=True)
class RFSQConfig:
    """The shape of the code and how each layer is conditioned.

    Attributes:
      dim: latent dims D.
      num_layers: residual layers L.
      num_levels: levels K per layer, 2 to 128.
      conditioning: "none" (naive), "scale" (learned scales), "layernorm" (robust).
      statistics: "frozen" constants, or "per_token" for parity with reference checkpoints (there
        `decode` needs the side information that the codes do not carry).
      spread: half the width of a layer's grid, in standard deviations of its residual.
      decay: how much of the tracked statistics survives one training step.
    """

    dim: int = 16
    num_layers: int = 8
    num_levels: int = 7
    conditioning: Conditioning = "layernorm"
    statistics: Statistics = "frozen"
    spread: float = DEFAULT_SPREAD
    decay: float = 0.99

    def __post_init__(self) -> None:
        _require(self.dim >= 1, "dim", "at least 1", self.dim)
        _require(self.num_layers >= 1, "num_layers", "at least 1", self.num_layers)
        in_range = 2 <= self.num_levels <= MAX_LEVELS
        _require(in_range, "num_levels", f"2 to {MAX_LEVELS}", self.num_levels)
        known = ("none", "scale", "layernorm")
        _require(self.conditioning in known, "conditioning", f"one of {known}", self.conditioning)
        known = ("frozen", "per_token")
        _require(self.statistics in known, "statistics", f"one of {known}", self.statistics)
        per_token_fits = self.statistics == "frozen" or self.conditioning == "layernorm"
        expected = '"layernorm" where statistics="per_token"'
        _require(per_token_fits, "conditioning", expected, self.conditioning)
        _require(self.spread > 0, "spread", "above 0", self.spread)
        _require(0 <= self.decay < 1, "decay", "in [0, 1)", self.decay)

    @property
    def bits_per_vector(self) -> float:
        """Bits that the codes of one latent vector take."""
        return self.dim * self.num_layers * math.log2(self.num_levels)


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


class RFSQState(NamedTuple):
    """Per-layer constants; with per-token statistics, one pair for every token and layer.

    Attributes:
      mean: float32 [L, D], the centre of each layer's grid.
      scale: float32 [L, D], half its width.
    """

    mean: Float[Array, "*l"]
    scale: Float[Array, "*l"]


class Health(NamedTuple):
    """What each layer carries, pooled over tokens and dims.

    Attributes:
      residual_std: float32 [L], before normalisation.
      normalized_std: float32 [L], after it: 1 / spread where the layer is calibrated.
      histogram: float32 [L, K], share of each level.
      perplexity: float32 [L], 2 ** entropy of that share: 1 is dead, K is uniform.
    """

    residual_std: Float[Array, " l"]
    normalized_std: Float[Array, " l"]
    histogram: Float[Array, "l k"]
    perplexity: Float[Array, " l"]


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
      ValueError: if z has another trailing dim, or (outside of a trace) holds NaN or inf.
    """
    return _quantize(config, state, check_latents(config, z), keep, train)


def encode(config: RFSQConfig, state: RFSQState, z: Shaped[AnyArray, "*n d"]) -> Int[Array, "*n d l"]:
    """Returns the codes int32 [..., D, L] of z [..., D]; raises as `quantize` does."""
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
      ValueError: on a wrong shape, a code outside [0, K) (outside of a trace), or missing side information.
      TypeError: if the codes are not integers.
    """
    codes = check_codes(config, codes)
    used = codes.shape[-1] if num_layers is None else num_layers
    _require(1 <= used <= codes.shape[-1], "num_layers", f"1 to {codes.shape[-1]}", used)
    needs_side = config.statistics == "per_token"
    if needs_side != (side is not None):
        need = "needs" if needs_side else "does not take"
        raise ValueError(f'decode with statistics="{config.statistics}" {need} side information')
    return _decode(config, state if side is None else side, codes, used)


def calibrate(config: RFSQConfig, z: Shaped[AnyArray, "*n d"]) -> RFSQState:
    """Measures, layer by layer, the constants that ship in the checkpoint.

    Args:
      config: the quantiser; conditioning "none" and "scale" have nothing to measure.
      z: [..., D] latents of the whole training set.

    Raises:
      ValueError: as `quantize`; also for a conditioning or statistics that z does not determine.
    """
    if config.conditioning != "layernorm" or config.statistics != "frozen":
        got = f"{config.conditioning!r} with statistics {config.statistics!r}"
        raise ValueError(f"calibrate expects conditioning 'layernorm', statistics 'frozen', got {got}")
    return _calibrate(config, check_latents(config, z))


def token_statistics(config: RFSQConfig, z: Shaped[AnyArray, "*n d"]) -> RFSQState:
    """Returns the per-token side information: mean and scale, float32 [L, ..., 1] each."""
    _require(config.statistics == "per_token", "statistics", "'per_token'", config.statistics)
    return _forward(config, init(config), check_latents(config, z)).constants


@partial(jax.jit, static_argnums=0)
def health(config: RFSQConfig, state: RFSQState, z: Shaped[AnyArray, "*n d"]) -> Health:
    """Measures what each layer carries on the latents z [..., D]."""
    layers = _forward(config, state, z.astype(jnp.float32))
    normalized = (layers.residuals - layers.constants.mean) / layers.constants.scale
    pooled = tuple(range(1, layers.residuals.ndim))
    histogram = jax.nn.one_hot(layers.codes, config.num_levels).mean(axis=pooled)
    logs = jnp.log2(jnp.maximum(histogram, jnp.finfo(jnp.float32).tiny))
    return Health(
        residual_std=jnp.std(layers.residuals, axis=pooled),
        normalized_std=jnp.std(normalized, axis=pooled),
        histogram=histogram,
        perplexity=2.0 ** -jnp.sum(histogram * logs, axis=-1),
    )


def balance(config: RFSQConfig, state: RFSQState, z: Shaped[AnyArray, "*n d"]) -> Float[Array, ""]:
    """How far the first layer's levels are from equal use, in [0, 1]; differentiable in z.

    Each normalised latent is spread over neighbouring levels (a softmax of squared distances, one
    step wide), which gives the histogram a gradient that hard assignments do not have.
    """
    first = jax.tree.map(lambda c: c[0], _broadcastable(state, z.ndim))
    position = (z - first.mean) / _step(config, first.scale) + (config.num_levels - 1) / 2
    distance = jax.vmap(lambda level: position - level, out_axes=-1)(
        jnp.arange(config.num_levels, dtype=jnp.float32)
    )
    weights = jax.nn.softmax(-(distance**2), axis=-1)
    share = jnp.mean(weights, axis=tuple(range(z.ndim - 1)))
    entropy = -jnp.sum(share * jnp.log(share + 1e-9), axis=-1)
    return 1.0 - jnp.mean(entropy) / math.log(config.num_levels)


def check_latents(config: RFSQConfig, z: Any) -> Float[Array, "*n d"]:
    """Returns z as float32 if it is [..., D] and (outside of a trace) finite; raises otherwise."""
    z = jnp.asarray(z)
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise TypeError(f"z must be floating point, got {z.dtype}")
    if z.ndim < 1 or z.shape[-1] != config.dim:
        raise ValueError(f"z must have shape [..., {config.dim}], got {z.shape}")
    if not isinstance(z, jax.core.Tracer) and not bool(jnp.isfinite(z).all()):
        count = int(jnp.sum(~jnp.isfinite(z)))
        raise ValueError(f"z must be finite, got {count} NaN or inf of {z.size} values")
    return z.astype(jnp.float32)


def check_codes(config: RFSQConfig, codes: Any) -> Int[Array, "*n d l"]:
    """Returns codes as int32 if they are [..., D, 1..L] and (outside of a trace) in [0, K); raises otherwise."""
    codes = codes if isinstance(codes, jax.Array) else np.asarray(codes)
    if not jnp.issubdtype(codes.dtype, jnp.integer):
        raise TypeError(f"codes must be integers, got {codes.dtype}")
    shape_fits = codes.ndim >= 2 and codes.shape[-2] == config.dim
    if not (shape_fits and 1 <= codes.shape[-1] <= config.num_layers):
        expected = f"[..., {config.dim}, 1 to {config.num_layers}]"
        raise ValueError(f"codes must have shape {expected}, got {codes.shape}")
    if not isinstance(codes, jax.core.Tracer) and codes.size:
        low, high = int(codes.min()), int(codes.max())
        if low < 0 or high >= config.num_levels:
            raise ValueError(f"codes must be in [0, {config.num_levels}), got {low} to {high}")
    return jnp.asarray(codes).astype(jnp.int32)


class _Pass(NamedTuple):
    """All layers of one forward pass, layer axis first."""

    z_hat: Float[Array, "*n d"]
    residuals: Float[Array, "l *n d"]
    codes: Int[Array, "l *n d"]
    constants: RFSQState


def _forward(
    config: RFSQConfig,
    state: RFSQState,
    z: Float[Array, "*n d"],
    keep: Int[AnyArray, "*n"] | None = None,
) -> _Pass:
    def layer(carry: tuple[Array, Array], inputs: tuple[Array, RFSQState]) -> tuple[Any, Any]:
        (residual, total), (index, constants) = carry, inputs
        if config.statistics == "per_token":
            constants = _token_constants(residual)
        code, value = _quantize_layer(config, constants, residual)
        kept = value if keep is None else jnp.where(index < keep[..., None], value, 0.0)
        return (residual - value, total + kept), (residual, code, constants)

    inputs = (jnp.arange(config.num_layers), _broadcastable(state, z.ndim))
    carry, outputs = jax.lax.scan(layer, (z, jnp.zeros_like(z)), inputs, unroll=True)
    return _Pass(carry[1], *outputs)


@partial(jax.jit, static_argnums=(0, 4))
def _quantize(
    config: RFSQConfig,
    state: RFSQState,
    z: Float[Array, "*n d"],
    keep: Int[AnyArray, "*n"] | None,
    train: bool,
) -> tuple[Float[Array, "*n d"], Int[Array, "*n d l"], RFSQState]:
    learned = config.conditioning == "scale"
    result = _forward(config, state, z if learned else jax.lax.stop_gradient(z), keep)
    z_hat = result.z_hat if learned else _straight_through(result.z_hat, z)
    if train and config.conditioning == "layernorm" and config.statistics == "frozen":
        state = _track(config, state, jax.lax.stop_gradient(result.residuals))
    return z_hat, jnp.moveaxis(result.codes, 0, -1), state


@partial(jax.jit, static_argnums=0)
def _encode(
    config: RFSQConfig, state: RFSQState, z: Float[Array, "*n d"]
) -> Int[Array, "*n d l"]:
    return jnp.moveaxis(_forward(config, state, z).codes, 0, -1)


@partial(jax.jit, static_argnums=(0, 3))
def _decode(
    config: RFSQConfig, constants: RFSQState, codes: Int[Array, "*n d l"], num_layers: int
) -> Float[Array, "*n d"]:
    def layer(total: Array, inputs: tuple[Array, RFSQState]) -> tuple[Array, None]:
        code, layer_constants = inputs
        return total + _dequantize(config, layer_constants, code), None

    codes = jnp.moveaxis(codes, -1, 0)[:num_layers]
    if config.statistics == "frozen":
        constants = _broadcastable(constants, codes.ndim - 1)
    constants = jax.tree.map(lambda constant: constant[:num_layers], constants)
    start = jnp.zeros(codes.shape[1:], jnp.float32)
    return jax.lax.scan(layer, start, (codes, constants), unroll=True)[0]


@partial(jax.jit, static_argnums=0)
def _calibrate(config: RFSQConfig, z: Float[Array, "*n d"]) -> RFSQState:
    def layer(residual: Array, _: None) -> tuple[Array, RFSQState]:
        constants = _batch_constants(config, residual)
        return residual - _quantize_layer(config, constants, residual)[1], constants

    constants = jax.lax.scan(layer, z, None, length=config.num_layers)[1]
    return jax.tree.map(partial(_as_stored, config), constants)


def _track(config: RFSQConfig, state: RFSQState, residuals: Float[Array, "l *n d"]) -> RFSQState:
    def move(old: Array, new: Array) -> Array:
        return config.decay * old + (1 - config.decay) * _as_stored(config, new)

    return jax.tree.map(move, state, jax.vmap(partial(_batch_constants, config))(residuals))


def _batch_constants(config: RFSQConfig, residual: Float[Array, "*n d"]) -> RFSQState:
    tokens = tuple(range(residual.ndim - 1))
    scale = config.spread * jnp.std(residual, axis=tokens, keepdims=True)
    mean = jnp.mean(residual, axis=tokens, keepdims=True)
    return RFSQState(mean, jnp.maximum(scale, SMALLEST_SCALE))


def _broadcastable(state: RFSQState, rank: int) -> RFSQState:
    """Stored constants [L, D] as [L, 1, ..., 1, D], for latents of that rank."""
    return jax.tree.map(lambda c: c.reshape(c.shape[0], *[1] * (rank - 1), c.shape[-1]), state)


def _as_stored(config: RFSQConfig, constant: Float[Array, "l *ones d"]) -> Float[Array, "l d"]:
    return constant.reshape(config.num_layers, config.dim)


def _token_constants(residual: Float[Array, "*n d"]) -> RFSQState:
    scale = jnp.std(residual, axis=-1, keepdims=True, ddof=1) + PER_TOKEN_EPSILON
    return RFSQState(jnp.mean(residual, axis=-1, keepdims=True), scale)


def _quantize_layer(
    config: RFSQConfig, constants: RFSQState, residual: Float[Array, "*n d"]
) -> tuple[Int[Array, "*n d"], Float[Array, "*n d"]]:
    """Returns the codes of one layer and their values; the gradient is that of a clip to the grid."""
    step = _step(config, constants.scale)
    # A product with 1 / step, not a quotient: compilers turn quotients into products at will.
    position = (residual - constants.mean) * (1.0 / step)
    half = (config.num_levels - 1) / 2
    centred = jnp.round(position) if config.num_levels % 2 else jnp.floor(position) + 0.5
    offset = jax.lax.stop_gradient(jnp.clip(centred, -half, half))
    code = (offset + half).astype(jnp.int32)
    value = _straight_through(offset, jnp.clip(position, -half, half)) * step + constants.mean
    return code, value


def _dequantize(
    config: RFSQConfig, constants: RFSQState, code: Int[Array, "*n d"]
) -> Float[Array, "*n d"]:
    offset = code.astype(jnp.float32) - (config.num_levels - 1) / 2
    return offset * _step(config, constants.scale) + constants.mean


def _step(config: RFSQConfig, scale: Float[Array, "*d"]) -> Float[Array, "*d"]:
    """The distance between levels, with few enough mantissa bits that small multiples are exact."""
    step = scale * np.float32(2.0 / (config.num_levels - 1))
    dropped = 23 - (MANTISSA_BITS - 1)
    bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(step), jnp.uint32)
    bits = (bits + np.uint32(1 << (dropped - 1))) & np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)
    return _straight_through(jax.lax.bitcast_convert_type(bits, jnp.float32), step)


def _straight_through(value: Float[Array, "*n"], source: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Exactly `value` in the forward pass, with the gradient of `source` in the backward pass."""
    return value + (source - jax.lax.stop_gradient(source))


def _require(condition: bool, field: str, expected: str, got: Any) -> None:
    if not condition:
        raise ValueError(f"{field} must be {expected}, got {got!r}")
