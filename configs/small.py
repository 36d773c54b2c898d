"""The small policy: robust tokens on the small backbone (strategy A).

python -m train.features --config configs/small.py
python -m train.heads --config configs/small.py
"""

from rfsq_jax.training.heads.training import PolicyRun


def get_config() -> PolicyRun:
    """Returns the run."""
    return PolicyRun()
