"""Continuous actions by absolute error, as OpenVLA-OFT has them, on the same features.

python -m train.heads --config configs/small_l1.py
"""

from pathlib import Path

from rfsq_jax.heads.config import HeadsConfig
from rfsq_jax.training.heads import HeadsTraining
from rfsq_jax.training.policy_run import PolicyRun


def get_config() -> PolicyRun:
    """Returns the run."""
    heads = HeadsConfig(kind="regression", draft=None)
    return PolicyRun(training=HeadsTraining(model=heads), output=Path("runs/heads/small_l1"))
