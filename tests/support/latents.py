"""Latents and calibrated constants for the tests of the quantiser."""

import jax.numpy as jnp
import numpy as np

from rfsq_jax import rfsq
from rfsq_jax.rfsq import RFSQConfig, RFSQState

DISTRIBUTIONS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, size=shape),
    "shifted": lambda rng, shape: 3.0 + 0.1 * np.tanh(rng.normal(size=shape)),
    "per dim": lambda rng, shape: rng.uniform(-1, 1, size=shape) * np.logspace(-2, 2, shape[-1]),
}


def sample(name: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return DISTRIBUTIONS[name](np.random.default_rng(seed), shape).astype(np.float32)


def calibrated(config: RFSQConfig, z: np.ndarray) -> RFSQState:
    if config.conditioning == "layernorm":
        return rfsq.calibrate(config, z)
    state = rfsq.init(config)
    if config.conditioning == "scale":
        layers = np.arange(config.num_layers, dtype=np.float32)[:, None]
        return state._replace(
            scale=jnp.asarray(0.7 * 0.3**layers * np.ones(state.scale.shape, np.float32))
        )
    return state
