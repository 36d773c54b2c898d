"""The policy that leads where demonstrations begin with one: trained on all bundled demonstrations.

python -m train.features --config configs/lead.py
python -m train.heads --config configs/lead.py
"""

from pathlib import Path

from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.training.heads.config import PolicyRun
from rfsq_jax.training.heads.training import HeadsTraining
from rfsq_jax.training.loop import LoopConfig


def get_config() -> PolicyRun:
    """Returns the run."""
    return PolicyRun(
        features=FeaturesRun(episodes=None, output=Path("runs/features/all")),
        training=HeadsTraining(loop=LoopConfig(steps=5_000, steps_per_call=10, evaluate_every=500)),
        output=Path("runs/heads/lead"),
    )
