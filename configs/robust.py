"""Robust RFSQ: every layer normalised by frozen statistics of its residual.

python -m train.ae --config configs/robust.py
"""

from pathlib import Path

from rfsq_jax.rfsq import RFSQConfig
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.training.autoencoder.run import AutoencoderRun
from rfsq_jax.training.autoencoder.training import TrainingConfig


def get_config() -> AutoencoderRun:
    """Returns the run."""
    model = AutoencoderConfig(rfsq=RFSQConfig(conditioning="layernorm"))
    return AutoencoderRun(training=TrainingConfig(model=model), output=Path("runs/ae/robust"))
