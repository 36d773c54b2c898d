"""The lattice of actions that a SpaceMouse can give, on which all published demonstrations lie.

Translation is a count times 0.9375/350, rotation a count times 0.375/350, counts within +-350; the
gripper is -1 (open) or +1 (close). Counts are int16, so demonstrations
pack small and come back exactly.

Axes: A = 7 action dims.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Int16

MAX_COUNT = 350
MAX_TRANSLATION = 0.9375
MAX_ROTATION = 0.375
"""Largest translation and rotation component in the published demonstrations."""
UNITS = np.array([MAX_TRANSLATION / MAX_COUNT] * 3 + [MAX_ROTATION / MAX_COUNT] * 3 + [1.0])
LIMITS = np.array([MAX_COUNT] * 6 + [1], dtype=np.int16)
TOLERANCE = 1e-3
"""How far from a count, in counts, a value may be: float32 rounding is 3e-5 of one."""


def snap(actions: Float[np.ndarray, "*n 7"]) -> Float32[np.ndarray, "*n 7"]:
    """Moves actions to the nearest lattice point: float [..., 7] -> float32 [..., 7].

    Components beyond the lattice's bounds go to the bound; the gripper goes to its sign.

    Raises:
      ValueError: for NaN, inf, or a gripper command of 0, which is neither open nor close.
    """
    _check_finite(actions)
    if (actions[..., 6] == 0).any():
        raise ValueError("the gripper action must be negative (open) or positive (close), got 0")
    counts = np.clip(np.rint(actions / UNITS), -LIMITS, LIMITS).astype(np.int16)
    counts[..., 6] = np.where(actions[..., 6] > 0, 1, -1)
    return from_counts(counts)


def to_counts(actions: Float[np.ndarray, "*n 7"]) -> Int16[np.ndarray, "*n 7"]:
    """Returns the counts of actions that lie on the lattice: [..., 7] -> int16 [..., 7].

    Raises:
      ValueError: for an action that does not lie on it.
    """
    _check_finite(actions)
    exact = actions.astype(np.float64) / UNITS
    nearest = np.rint(exact)
    off = (np.abs(exact - nearest) > TOLERANCE) | (np.abs(nearest) > LIMITS)
    off[..., 6] |= nearest[..., 6] == 0
    if off.any():
        where = tuple(int(i) for i in np.argwhere(off)[0])
        raise ValueError(
            "actions must lie on the SpaceMouse lattice (use snap), "
            f"got {float(actions[where])} at {where}"
        )
    return nearest.astype(np.int16)


def from_counts(counts: Int16[np.ndarray, "*n 7"]) -> Float32[np.ndarray, "*n 7"]:
    """Returns the actions of counts: int16 -> float32 [..., 7]; undoes `to_counts`."""
    return (counts * UNITS).astype(np.float32)


def _check_finite(actions: np.ndarray) -> None:
    if actions.shape[-1:] != (7,):
        raise ValueError(f"actions must have shape [..., 7], got {actions.shape}")
    if not np.isfinite(actions).all():
        raise ValueError("actions must be finite, got NaN or inf")
