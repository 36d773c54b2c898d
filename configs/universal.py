"""Ordered tokens by the shared path alone, for actions of robots that are not known, normalised.

`ActionTokenizer.fit(chunks, kind="ordered", dense=False)` measures a robot's own statistics.

python -m train.ae --config configs/universal.py
"""

from pathlib import Path

from rfsq_jax.training.ordered.run import OrderedRun


def get_config() -> OrderedRun:
    """Returns the run."""
    output = Path("runs/ae/universal")
    return OrderedRun(dense=False, synthetic=True, beside=(), output=output)
