"""Smooth chunks on the lattice that LIBERO's recorded actions lie on."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def chunks() -> np.ndarray:
    """float32 [300, 8, 7]: slow random motion, counts of a SpaceMouse, a gripper of +-1."""
    rng = np.random.default_rng(0)
    walk = rng.normal(0, 0.3, (300, 1, 7)) + np.cumsum(rng.normal(0, 0.05, (300, 8, 7)), axis=1)
    unit = np.array([0.9375] * 3 + [0.375] * 3) / 350
    counts = np.clip(np.rint(walk[..., :6] * 350), -350, 350)
    gripper = np.where(walk[:, :1, 6:] > 0, 1.0, -1.0) * np.ones((1, 8, 1))
    return np.concatenate([counts * unit, gripper], axis=-1).astype(np.float32)
