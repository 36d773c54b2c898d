"""A tokenizer with fewer codes than the bundled one, whose programs compile in half the time."""

import jax
import numpy as np

from rfsq_jax import rfsq
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.rfsq import RFSQConfig
from rfsq_jax.tokenizers import autoencoder
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.tokenizers.step import StepTokenizer


def untrained_tokenizer(chunks: np.ndarray, num_layers: int = 4) -> StepTokenizer:
    """Random networks around a quantiser whose layers are alive on `chunks` [B, T, A]."""
    space = ActionSpace.fit(chunks)
    quantizer = RFSQConfig(dim=4, num_layers=num_layers)
    config = AutoencoderConfig(space.action_dim, 16, quantizer)
    params, _ = autoencoder.init(config, jax.random.key(0))
    latents = autoencoder.latents(config, params, space.normalization.normalize(chunks))
    return StepTokenizer(config, params, rfsq.calibrate(quantizer, latents), space)
