"""Ordered tokens: conditional RFSQ of whole chunks, shown beside robust and naive RFSQ, bins, FAST.

python -m train.ae --config configs/ordered.py
"""

from rfsq_jax.training.ordered.run import OrderedRun


def get_config() -> OrderedRun:
    """Returns the run."""
    return OrderedRun()
