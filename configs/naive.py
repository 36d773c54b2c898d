"""Naive RFSQ: no conditioning; the layers behind the first starve.

python -m train.ae --config configs/naive.py
"""

from pathlib import Path

from rfsq_jax.autoencoder import AutoencoderConfig
from rfsq_jax.rfsq import RFSQConfig
from rfsq_jax.training.autoencoder import TrainingConfig
from rfsq_jax.training.autoencoder_run import AutoencoderRun


def get_config() -> AutoencoderRun:
    """Returns the run."""
    model = AutoencoderConfig(rfsq=RFSQConfig(conditioning="none"))
    return AutoencoderRun(training=TrainingConfig(model=model), output=Path("runs/ae/naive"))
