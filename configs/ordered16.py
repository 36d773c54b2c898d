"""Ordered tokens of chunks of 16 steps.

python -m train.ae --config configs/ordered16.py
"""

from pathlib import Path

from rfsq_jax.training.loop import LoopConfig
from rfsq_jax.training.ordered.run import OrderedRun
from rfsq_jax.training.ordered.training import OrderedTrainingConfig


def get_config() -> OrderedRun:
    """Returns the run."""
    loop = LoopConfig(steps=3_000, steps_per_call=100, evaluate_every=500, patience=4)
    training = OrderedTrainingConfig(loop=loop)
    output = Path("runs/ae/ordered16")
    return OrderedRun(training=training, horizon=16, num_tokens=40, beside=(), output=output)
