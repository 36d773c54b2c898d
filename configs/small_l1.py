"""Continuous actions by absolute error, as OpenVLA-OFT has them, on the same features.

python -m train.heads --config configs/small_l1.py
"""

from pathlib import Path

from rfsq_jax.heads.config import HeadsConfig
from rfsq_jax.training.heads.training import HeadsTraining, PolicyRun


def get_config() -> PolicyRun:
    """Returns the run."""
    heads = HeadsConfig(kind="regression", draft=None)
    return PolicyRun(training=HeadsTraining(model=heads), output=Path("runs/heads/small_l1"))
