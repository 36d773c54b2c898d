"""The policy that comes with the package: on the demonstrations of configs/varied.py and 300 more.

Those begin where the policy of configs/varied.py gets to by itself, in the suite that it was worse
at: between the two rims of a bowl, of which demonstrators take now one, now the other. These take
the nearer one. `make bundle` runs all three rounds, of which this is the last:

python -m train.demos --suite libero_spatial --episodes 300 --seed 3 --style near \
    --lead runs/heads/varied/policy --output runs/demos/again/libero_spatial
python -m train.features --config configs/bundled.py
python -m train.heads --config configs/bundled.py
python -m train.draft --policy runs/heads/bundled/policy --features runs/features/bundled \
    --max-excess 0.03 --output runs/draft/bundled
"""

from pathlib import Path

from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.training.heads.config import PolicyRun
from rfsq_jax.training.heads.training import HeadsTraining
from rfsq_jax.training.loop import LoopConfig

DEMOS = tuple(
    Path("runs/demos") / folder
    for folder in (
        "wide/libero_spatial",
        "wide/libero_object",
        "led/libero_spatial",
        "led/libero_object",
        "again/libero_spatial",
    )
)


def get_config() -> PolicyRun:
    """Returns the run."""
    return PolicyRun(
        features=FeaturesRun(episodes=None, demos=DEMOS, output=Path("runs/features/bundled")),
        training=HeadsTraining(
            loop=LoopConfig(steps=12_000, steps_per_call=10, evaluate_every=1_000)
        ),
        output=Path("runs/heads/bundled"),
    )
