"""The naive-token baseline: the same features and heads, tokens of the naive quantiser.

python -m train.ae --config configs/naive.py
python -m train.heads --config configs/small_naive.py
"""

from pathlib import Path

from rfsq_jax.training.heads.training import PolicyRun


def get_config() -> PolicyRun:
    """Returns the run."""
    return PolicyRun(tokenizer="runs/ae/naive/tokenizer", output=Path("runs/heads/small_naive"))
