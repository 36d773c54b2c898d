"""Ordered tokens of chunks of 32 steps.

python -m train.ae --config configs/ordered32.py
"""

from pathlib import Path

from rfsq_jax.training.loop import LoopConfig
from rfsq_jax.training.ordered.run import OrderedRun
from rfsq_jax.training.ordered.training import OrderedTrainingConfig


def get_config() -> OrderedRun:
    """Returns the run."""
    loop = LoopConfig(steps=1_500, steps_per_call=100, evaluate_every=500, patience=4)
    training = OrderedTrainingConfig(loop=loop)
    output = Path("runs/ae/ordered32")
    return OrderedRun(training=training, horizon=32, num_tokens=64, beside=(), output=output)
