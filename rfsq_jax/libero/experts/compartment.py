"""Puts a long thing upright into a narrow compartment, turned so that it fits.

Axes: P surface points · K turns · world frame, metres and radians.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.experts.grasps import FINGER_REACH
from rfsq_jax.libero.experts.placing import Placing

NUM_TURNS = 73
CARELESS = 0.3
"""What part of the style's sloppiness a tight place allows."""
ABOVE_WALLS = 0.004


class Compartment(Placing):
    """A region between walls that the open fingers must stay above."""

    _turn = 0.0

    @property
    def turn(self) -> float:
        """How far the hand turns on the way so that the thing fits, radians."""
        return self._turn

    def look_around(self) -> None:
        """Notes what lies about and how the thing is held, before it is carried."""
        super().look_around()
        region = self._scene.region(self._target)
        self._turn = fitting_turn(self._scene.points(self._thing), region.reach)

    def hand_xy(self, hand: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 2"]:
        """Returns where the hand must be for the thing to be above its place: float64 [2]."""
        points = self._scene.points(self._thing)[:, :2]
        middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
        return self._middle()[:2] + hand[:2] - middle + CARELESS * self._offset

    def release_height(self, hand: Float64[np.ndarray, " 3"], extra: float) -> float:
        """Returns where the hand lets go: its open fingers stay above the walls."""
        walls = self._scene.highest(self._owner) if self._owner else -np.inf
        return walls + FINGER_REACH + ABOVE_WALLS + max(extra, 0.0)


def fitting_turn(points: Float64[np.ndarray, "p 3"], reach: Float64[np.ndarray, " 3"]) -> float:
    """Returns the turn about the vertical that makes a thing fit between walls, radians.

    Args:
      points: float64 [P, 3], its surface samples.
      reach: float64 [3], half extents of the place between them.

    Returns:
      0 if it fits as it is or never; else of at most a quarter turn either way the one that leaves
      most room.
    """
    if _room(points, reach, 0.0) >= 0:
        return 0.0
    turns = np.linspace(-np.pi / 2, np.pi / 2, NUM_TURNS)
    rooms = np.array([_room(points, reach, turn) for turn in turns.tolist()])
    return float(turns[rooms.argmax()]) if rooms.max() >= 0 else 0.0


def _room(points: np.ndarray, reach: np.ndarray, turn: float) -> float:
    c, s = np.cos(turn), np.sin(turn)
    extents = np.ptp(points[:, :2] @ np.array([[c, s], [-s, c]]), axis=0)
    return float((2 * reach[:2] - extents).min())
