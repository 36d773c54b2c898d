"""The bundled policy, third round: on 300 demonstrations more. See `make bundle`.

These begin where the second round's policy gets to by itself, in the suite that it was worse at:
between the two rims of a bowl, of which demonstrators take now one, now the other. These take the
nearer one.
"""

from pathlib import Path

from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.training.heads.config import PolicyRun
from rfsq_jax.training.heads.training import HeadsTraining
from rfsq_jax.training.loop import LoopConfig

DEMOS = tuple(
    Path("runs/demos") / folder
    for folder in (
        "round2_wide/libero_spatial",
        "round2_wide/libero_object",
        "round2_rollout/libero_spatial",
        "round2_rollout/libero_object",
        "round3_rollout/libero_spatial",
    )
)


def get_config() -> PolicyRun:
    """Returns the run."""
    return PolicyRun(
        features=FeaturesRun(
            episodes=None, demos=DEMOS, output=Path("runs/features/bundled_round3")
        ),
        training=HeadsTraining(
            loop=LoopConfig(steps=12_000, steps_per_call=10, evaluate_every=1_000)
        ),
        output=Path("runs/heads/bundled_round3"),
    )
