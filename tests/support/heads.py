"""Small heads, and features to feed them."""

import functools

import jax
import numpy as np

from rfsq_jax.backbones.protocol import Depth
from rfsq_jax.heads import network
from rfsq_jax.heads.config import CodeShape, HeadsConfig, TrunkConfig
from rfsq_jax.heads.network import Heads, HeadsShape

CODES = CodeShape(horizon=4, dim=3, num_layers=5, num_levels=7, coarse=2)
SHAPE = HeadsShape(
    early=Depth(tokens=7, width=5, image_tokens=6),
    final=Depth(tokens=9, width=8, image_tokens=8),
    horizon=CODES.horizon,
    action_dim=7,
    tokens=CODES,
)
init = jax.jit(network.init, static_argnums=(0, 1))
"""One program instead of dozens of small ones."""

SMALL = TrunkConfig(width=16, num_heads=2, num_blocks=2)
TOKENS = HeadsConfig(main=SMALL, draft=TrunkConfig(width=8, num_heads=1, num_blocks=1))


def features(depth: Depth, batch: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, depth.tokens, depth.width)).astype(np.float32)


def states(batch: int = 3, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, 8)).astype(np.float32)


def codes(batch: int = 3, layers: int = CODES.num_layers, seed: int = 2) -> np.ndarray:
    shape = (batch, CODES.horizon, CODES.dim, layers)
    return np.random.default_rng(seed).integers(0, CODES.num_levels, shape).astype(np.int32)


@functools.cache
def heads(config: HeadsConfig = TOKENS, seed: int = 0) -> Heads:
    # Arrays, also for who asks while tracing.
    with jax.ensure_compile_time_eval():
        return network.bind(config, SHAPE, init(config, SHAPE, jax.random.key(seed)))
