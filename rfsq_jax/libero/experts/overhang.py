"""How a thing comes out from under what hangs over it, such as an open drawer, before it is lifted.

Axes: P, Q surface points · world frame in metres, z up.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

MARGIN = 0.015
FARTHEST = 0.15
"""A longer way out than this is no way out."""


def way_out(
    obstacles: Float64[np.ndarray, "q 3"],
    thing: Float64[np.ndarray, "p 3"],
    hand: Float64[np.ndarray, " 3"],
    base: Float64[np.ndarray, " 3"],
) -> Float64[np.ndarray, " 2"]:
    """Returns how far to move towards the arm's base so that nothing is above: float64 [2].

    Args:
      obstacles: float64 [Q, 3], surface samples of what may be in the way.
      thing: float64 [P, 3], those of the thing.
      hand: float64 [3], where it is held.
      base: float64 [3], where the arm stands.
    """
    back = base[:2] - hand[:2]
    back = back / np.linalg.norm(back)
    side = np.array([-back[1], back[0]])
    along, across = thing[:, :2] @ back, thing[:, :2] @ side
    above = obstacles[obstacles[:, 2] > thing[:, 2].max() + MARGIN]
    above_along, above_across = above[:, :2] @ back, above[:, :2] @ side
    over = (above_across > across.min() - MARGIN) & (above_across < across.max() + MARGIN)
    over &= above_along > along.min() - MARGIN
    over &= above_along < along.max() + MARGIN
    if not over.any():
        return np.zeros(2)
    distance = above_along[over].max() + MARGIN - along.min()
    return min(distance, FARTHEST) * back
