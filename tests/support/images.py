"""Pictures and states for a backbone."""

import numpy as np


def pictures(batch=2, size=256, seed=0):
    shape = (batch, 2, size, size, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def states(batch=2):
    return np.zeros((batch, 8), np.float32)
