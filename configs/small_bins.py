"""256 bins per action value on the same features.

python -m train.heads --config configs/small_bins.py
"""

from pathlib import Path

from rfsq_jax.heads.config import HeadsConfig
from rfsq_jax.training.heads.training import HeadsTraining, PolicyRun


def get_config() -> PolicyRun:
    """Returns the run."""
    heads = HeadsConfig(kind="bins", draft=None)
    return PolicyRun(training=HeadsTraining(model=heads), output=Path("runs/heads/small_bins"))
