"""The bundled policy, second round: on 600 demonstrations more. See `make bundle`.

All of these begin at wider placements, half of them where the first round's policy has got to by
itself (DAgger).
"""

from pathlib import Path

from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.training.heads.training import HeadsTraining, PolicyRun
from rfsq_jax.training.loop import LoopConfig

DEMOS = tuple(
    Path("runs/demos") / kind / suite
    for kind in ("round2_wide", "round2_rollout")
    for suite in ("libero_spatial", "libero_object")
)


def get_config() -> PolicyRun:
    """Returns the run."""
    return PolicyRun(
        features=FeaturesRun(
            episodes=None, demos=DEMOS, output=Path("runs/features/bundled_round2")
        ),
        training=HeadsTraining(loop=LoopConfig(steps=6_000, steps_per_call=10, evaluate_every=500)),
        output=Path("runs/heads/bundled_round2"),
    )
