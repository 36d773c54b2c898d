"""Ordered tokens by the shared path alone, which `fit(..., dense=False)` turns to any robot.

python -m train.ae --config configs/universal.py
"""

from pathlib import Path

from rfsq_jax.training.ordered.run import OrderedRun


def get_config() -> OrderedRun:
    """Returns the run."""
    return OrderedRun(dense=False, beside=(), output=Path("runs/ae/universal"))
