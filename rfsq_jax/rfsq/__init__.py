"""Residual finite scalar quantisation: layer l quantises what layers 0..l-1 left over.

    r_0 = z
    k_l = nearest level of (r_l - mean_l) / step_l          normalise, quantise
    v_l = (k_l - (K - 1) / 2) * step_l + mean_l             denormalise
    r_{l+1} = r_l - v_l
    z_hat = v_0 + v_1 + ... + v_{L-1}

The K levels are uniform on [mean - scale, mean + scale], so step = 2 * scale / (K - 1).
`mean` and `scale` are constants of the trained model ("layernorm", "scale") or 0 and 1 ("none"), or
functions of the coarser codes ("conditional", see `rfsq.conditional`): codes alone decode.
Source: arXiv 2508.15860 (v3), section on conditioning strategies.

config        the shape of the code, checks
layers        a layer of constants
conditional   a layer of networks, and where they start; in integers (`exact`)
scan          the scan over layers, whatever they are
core          the public functions, and their jitted programs (`compiled`)
beam          encoding by search, for conditional layers
layer_health  what each layer carries

Bit-exactness: a step keeps 16 mantissa bits, so that (level offset) * step is exact in float32 and
the compiler's choice of fused or separate multiply-add cannot change a value between two programs.

Axes: ... any leading axes · D latent dims · L residual layers · K levels.
"""

from rfsq_jax.rfsq.conditional import ConditionalState
from rfsq_jax.rfsq.config import (
    CONDITIONING_NAMES,
    Conditioning,
    RFSQConfig,
    Statistics,
    check_codes,
    check_latents,
    check_num_layers,
    config_from_reference,
    require_codes,
)
from rfsq_jax.rfsq.core import (
    calibrate,
    decode,
    decode_levels,
    decode_prefixes,
    encode,
    init,
    quantize,
    token_statistics,
)
from rfsq_jax.rfsq.layer_health import Health, balance, health
from rfsq_jax.rfsq.layers import RFSQState

__all__ = [
    "CONDITIONING_NAMES",
    "ConditionalState",
    "Conditioning",
    "Health",
    "RFSQConfig",
    "RFSQState",
    "Statistics",
    "balance",
    "calibrate",
    "check_codes",
    "check_latents",
    "check_num_layers",
    "config_from_reference",
    "decode",
    "decode_levels",
    "decode_prefixes",
    "encode",
    "health",
    "init",
    "quantize",
    "require_codes",
    "token_statistics",
]
