"""The blind control: robust tokens, every token that shows a picture zeroed, trained alike.

python -m train.heads --config configs/small_blind.py
"""

from pathlib import Path

from rfsq_jax.heads.config import HeadsConfig, TrunkConfig
from rfsq_jax.training.heads.training import HeadsTraining, PolicyRun


def get_config() -> PolicyRun:
    """Returns the run."""
    heads = HeadsConfig(
        main=TrunkConfig(blind=True),
        draft=TrunkConfig(width=96, num_heads=3, num_blocks=1, blind=True),
    )
    return PolicyRun(training=HeadsTraining(model=heads), output=Path("runs/heads/small_blind"))
