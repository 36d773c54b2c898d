"""Naive RFSQ: no conditioning; the layers after the first starve.

python -m train.ae --config configs/naive.py
"""

from pathlib import Path

from rfsq_jax.rfsq import RFSQConfig
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.training.autoencoder.run import AutoencoderRun
from rfsq_jax.training.autoencoder.training import TrainingConfig


def get_config() -> AutoencoderRun:
    """Returns the run."""
    model = AutoencoderConfig(rfsq=RFSQConfig(conditioning="none"))
    return AutoencoderRun(training=TrainingConfig(model=model), output=Path("runs/ae/naive"))
