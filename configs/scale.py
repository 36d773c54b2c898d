"""RFSQ with one learned scale per layer and dim.

python -m train.ae --config configs/scale.py
"""

from pathlib import Path

from rfsq_jax.autoencoder import AutoencoderConfig
from rfsq_jax.rfsq import RFSQConfig
from rfsq_jax.training.autoencoder import TrainingConfig
from rfsq_jax.training.autoencoder_run import AutoencoderRun


def get_config() -> AutoencoderRun:
    """Returns the run."""
    model = AutoencoderConfig(rfsq=RFSQConfig(conditioning="scale"))
    return AutoencoderRun(training=TrainingConfig(model=model), output=Path("runs/ae/scale"))
