"""The policy of the second round: on all bundled demonstrations and 600 more.

Of those 300 begin at wider placements, and 300 also where another policy has got to by itself:
configs/lead.py, the first round.

for suite in libero_spatial libero_object; do
    python -m train.demos --suite $suite --episodes 150 --seed 1 --widen 0.05 \
        --output runs/demos/wide/$suite
    python -m train.demos --suite $suite --episodes 150 --seed 2 --widen 0.05 \
        --lead runs/heads/lead/policy --output runs/demos/led/$suite
done
python -m train.features --config configs/varied.py
python -m train.heads --config configs/varied.py
"""

from pathlib import Path

from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.training.heads.config import PolicyRun
from rfsq_jax.training.heads.training import HeadsTraining
from rfsq_jax.training.loop import LoopConfig

DEMOS = tuple(
    Path("runs/demos") / kind / suite
    for kind in ("wide", "led")
    for suite in ("libero_spatial", "libero_object")
)


def get_config() -> PolicyRun:
    """Returns the run."""
    return PolicyRun(
        features=FeaturesRun(episodes=None, demos=DEMOS, output=Path("runs/features/varied")),
        training=HeadsTraining(loop=LoopConfig(steps=6_000, steps_per_call=10, evaluate_every=500)),
        output=Path("runs/heads/varied"),
    )
