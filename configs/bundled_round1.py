"""The bundled policy, first round: on all bundled demonstrations. See `make bundle`."""

from pathlib import Path

from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.training.heads.training import HeadsTraining, PolicyRun
from rfsq_jax.training.loop import LoopConfig


def get_config() -> PolicyRun:
    """Returns the run."""
    return PolicyRun(
        features=FeaturesRun(episodes=None, output=Path("runs/features/bundled_round1")),
        training=HeadsTraining(loop=LoopConfig(steps=5_000, steps_per_call=10, evaluate_every=500)),
        output=Path("runs/heads/bundled_round1"),
    )
