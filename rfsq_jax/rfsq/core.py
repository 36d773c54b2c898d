"""quantize, encode, decode, calibrate: the public functions around the layers.

Axes: ... any leading axes · D latent dims · G codes of a layer · L residual layers · K levels ·
C context. G is D, but for conditional layers.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from rfsq_jax.rfsq import compiled, conditional_start, scan
from rfsq_jax.rfsq.config import (
    RFSQConfig,
    check_codes,
    check_context,
    check_latents,
    check_num_layers,
    require_vectors,
)
from rfsq_jax.rfsq.layers import AnyArray, RFSQState
from rfsq_jax.rfsq.scan import State
from rfsq_jax.runs.checks import require


def init(config: RFSQConfig) -> State:
    """Returns the state that makes every layer the plain grid on [-1, 1].

    With conditioning "conditional", layers refine the dims in turn, and networks add nothing yet.
    """
    if config.conditioning == "conditional":
        return conditional_start.plain(config)
    shape = (config.num_layers, config.dim)
    return RFSQState(mean=jnp.zeros(shape), scale=jnp.ones(shape))


def quantize(
    config: RFSQConfig,
    state: State,
    z: Shaped[AnyArray, "*n d"],
    *,
    train: bool = False,
    keep: Int[AnyArray, "*n"] | None = None,
    context: Shaped[AnyArray, "*n c"] | None = None,
) -> tuple[Float[Array, "*n d"], Int[Array, "*n g l"], State]:
    """Quantises z with a straight-through gradient.

    Args:
      config: the quantiser.
      state: its constants. With conditioning "scale" the gradient reaches `state.scale`, with
        "conditional" `state.networks`.
      z: [..., D] latents; for conditional layers within [-32, 32], which is where they saturate.
      train: with conditioning "layernorm", also moves the constants toward this batch's statistics.
      keep: how many layers to add up for each vector (quantiser dropout); all of them by default.
      context: [..., C], with conditioning "conditional" and a `context_dim`.

    Returns:
      z_hat float32 [..., D], codes int32 [..., G, L], and the state (moved if `train`).

    Raises:
      TypeError: if z or the context is not floating point.
      ValueError: if either has another trailing dim, or (outside of a trace) holds NaN or inf; if
        there is nothing to train on.
    """
    z = check_latents(config, z)
    context = check_context(config, context, z.shape[:-1])
    if train:
        require_vectors(z)
    return compiled.quantize(config, state, z, keep, context, train)


def encode(
    config: RFSQConfig,
    state: State,
    z: Shaped[AnyArray, "*n d"],
    context: Shaped[AnyArray, "*n c"] | None = None,
) -> Int[Array, "*n g l"]:
    """Returns the codes int32 [..., G, L] of z [..., D], none of none; raises as `quantize`."""
    z = check_latents(config, z)
    return compiled.encode(config, state, z, check_context(config, context, z.shape[:-1]))


def decode(
    config: RFSQConfig,
    state: State,
    codes: Shaped[AnyArray, "*n g l"],
    num_layers: int | None = None,
    side: RFSQState | None = None,
    context: Shaped[AnyArray, "*n c"] | None = None,
) -> Float[Array, "*n d"]:
    """Returns z_hat float32 [..., D] of the first `num_layers` layers of the codes.

    Args:
      config: the quantiser.
      state: its constants.
      codes: int [..., G, L'], L' <= L.
      num_layers: how many layers to add up, 0 too if they are conditional; by default all given.
      side: `token_statistics` of the latents; only with, and demanded by, statistics="per_token".
      context: what `quantize` was told.

    Raises:
      ValueError: on a wrong shape, missing side information, or (outside of a trace) a code outside
        [0, K).
      TypeError: if the codes or num_layers are not integers.
    """
    codes = check_codes(config, codes)
    used = check_num_layers(num_layers, codes.shape[-1], config.fewest_layers)
    needs_side = config.statistics == "per_token"
    if needs_side != (side is not None):
        need = "needs" if needs_side else "does not take"
        raise ValueError(f'decode with statistics="{config.statistics}" {need} side information')
    context = check_context(config, context, codes.shape[:-2])
    return compiled.decode(config, state if side is None else side, codes, context, used)


def decode_prefixes(
    config: RFSQConfig,
    state: State,
    codes: Shaped[AnyArray, "*n g l"],
    context: Shaped[AnyArray, "*n c"] | None = None,
) -> Float[Array, "m *n d"]:
    """Returns z_hat float32 [L' + 1, ..., D] of every prefix, from none of the layers to all given.

    Raises:
      TypeError, ValueError: as `decode`; also for per-token statistics.
    """
    require(config.statistics == "frozen", "statistics", "'frozen'", config.statistics)
    codes = check_codes(config, codes)
    context = check_context(config, context, codes.shape[:-2])
    return compiled.decode_prefixes(config, state, codes, context)


def decode_levels(
    config: RFSQConfig, state: State, levels: Float[AnyArray, "*n d l"]
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
      ValueError: on a wrong shape, for per-token statistics, or conditional layers.
    """
    require(config.statistics == "frozen", "statistics", "'frozen'", config.statistics)
    affine = config.conditioning != "conditional"
    require(affine, "conditioning", "constant, so that decoding is affine", config.conditioning)
    fits = levels.ndim > 1 and levels.shape[-2] == config.dim
    if not fits or not 1 <= levels.shape[-1] <= config.num_layers:
        expected = f"[..., {config.dim}, 1 to {config.num_layers}]"
        raise ValueError(f"levels must have shape {expected}, got {levels.shape}")
    return compiled.decode(config, state, jnp.asarray(levels), None, levels.shape[-1])


def calibrate(config: RFSQConfig, z: Shaped[AnyArray, "*n d"], seed: int = 0) -> State:
    """Measures, layer by layer, the constants that ship in the checkpoint.

    Conditional layers start from these, with principal directions, and are then trained.

    Args:
      config: the quantiser; conditioning "none" and "scale" have nothing to measure.
      z: [..., D] latents of the whole training set.
      seed: of the hidden weights of conditional layers.

    Raises:
      ValueError: as `quantize`; also without any z, or for a conditioning or statistics that z does
        not determine.
    """
    if config.conditioning == "conditional":
        values = np.asarray(check_latents(config, z)).reshape(-1, config.dim)
        require_vectors(values)
        return conditional_start.measured(config, values, seed)
    if config.conditioning != "layernorm" or config.statistics != "frozen":
        got = f"{config.conditioning!r} with statistics {config.statistics!r}"
        raise ValueError(
            f"calibrate expects conditioning 'layernorm', statistics 'frozen', got {got}"
        )
    z = check_latents(config, z)
    require_vectors(z)
    return compiled.calibrate(config, z)


def token_statistics(config: RFSQConfig, z: Shaped[AnyArray, "*n d"]) -> RFSQState:
    """Returns the per-token side information: mean and scale, float32 [L, ..., 1] each."""
    require(config.statistics == "per_token", "statistics", "'per_token'", config.statistics)
    return scan.forward(config, init(config), check_latents(config, z)).constants
