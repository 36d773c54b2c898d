"""Ordered tokens of chunks of 16 steps.

python -m train.ae --config configs/ordered16.py
"""

from pathlib import Path

from rfsq_jax.training.ordered.run import OrderedRun


def get_config() -> OrderedRun:
    """Returns the run."""
    return OrderedRun(horizon=16, num_tokens=24, beside=(), output=Path("runs/ae/ordered16"))
