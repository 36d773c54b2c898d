"""Ordered tokens for policies: a little more error, for less harm by a wrong token, and tokens that
follow better from those before.

python -m train.ae --config configs/ordered_policy.py
"""

from pathlib import Path

from rfsq_jax.training.ordered.objective import Objective
from rfsq_jax.training.ordered.run import OrderedRun
from rfsq_jax.training.ordered.training import OrderedTrainingConfig


def get_config() -> OrderedRun:
    """Returns the run."""
    objective = Objective(perturbation=0.3, smoothness=0.3)
    training = OrderedTrainingConfig(objective=objective)
    return OrderedRun(training=training, beside=(), output=Path("runs/ae/ordered_policy"))
