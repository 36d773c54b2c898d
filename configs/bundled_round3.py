"""The bundled policy, third round: on 300 demonstrations more. See `make bundle`.

These begin where the second round's policy gets to by itself, in the suite that it was worse at:
between the two rims of a bowl, of which demonstrators take now one, now the other. These take the
nearer one.
"""

from pathlib import Path

from configs.bundled_round2 import DEMOS
from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.training.heads.training import HeadsTraining, PolicyRun
from rfsq_jax.training.loop import LoopConfig

MORE = Path("runs/demos/round3_rollout/libero_spatial")


def get_config() -> PolicyRun:
    """Returns the run."""
    output = Path("runs/features/bundled_round3")
    loop = LoopConfig(steps=12_000, steps_per_call=10, evaluate_every=1_000)
    return PolicyRun(
        features=FeaturesRun(episodes=None, demos=(*DEMOS, MORE), output=output),
        training=HeadsTraining(loop=loop),
        output=Path("runs/heads/bundled_round3"),
    )
