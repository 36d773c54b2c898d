"""The policy that comes with the package: as configs/small.py, on all 1,000 demonstrations.

python -m train.features --config configs/bundled.py
python -m train.heads --config configs/bundled.py
python -m train.draft --policy runs/heads/bundled/policy --features runs/features/all \
    --max-excess 0.03 --output runs/draft/bundled
"""

from pathlib import Path

from rfsq_jax.features.run import FeaturesRun
from rfsq_jax.training.heads import HeadsTraining
from rfsq_jax.training.loop import LoopConfig
from rfsq_jax.training.policy_run import PolicyRun


def get_config() -> PolicyRun:
    """Returns the run."""
    return PolicyRun(
        features=FeaturesRun(episodes=None, output=Path("runs/features/all")),
        training=HeadsTraining(loop=LoopConfig(steps=5_000, steps_per_call=10, evaluate_every=500)),
        output=Path("runs/heads/bundled"),
    )
