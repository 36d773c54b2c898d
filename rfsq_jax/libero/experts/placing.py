"""Where a held thing has to go, how high on the way, and whether it is there.

Axes: P, Q surface points · world frame, metres.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.experts.grasps import FINGER_REACH, PALM_DEPTH
from rfsq_jax.libero.scene import Scene, tallest_near_path

PATH_RADIUS = 0.08
"""Half the width of the corridor that must be clear below the hand."""
ON_TOLERANCE = 0.03
"""The benchmark's own: how far apart the centres of a thing and what it is on may be."""
ABOVE_OPENING = 0.004
"""How far above a region's opening the middle of a thing is let go."""
PALM_CLEARANCE = 0.012


class Placing:
    """Puts one thing on another, or into a region."""

    def __init__(
        self,
        scene: Scene,
        thing: str,
        target: str,
        *,
        offset: tuple[float, float],
        clearance: float,
    ) -> None:
        """Describes a placement.

        Args:
          scene: where.
          thing: what is placed.
          target: a thing to put it on or a region to put it into.
          offset: x and y from the middle of the target, metres.
          clearance: how far above other things it is carried, metres.
        """
        self._scene, self._thing, self._target = scene, thing, target
        self._offset, self._clearance = np.array(offset), clearance
        self._owner = scene.owner(target)
        self._obstacles = np.zeros((0, 3))

    def look_around(self) -> None:
        """Notes what lies about, before the thing is carried."""
        self._obstacles = _thinned(self._scene.obstacles(self._thing))

    def hand_xy(self, hand: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 2"]:
        """Returns where the hand must be for the thing to be above its target: float64 [2]."""
        in_hand = hand - self._scene.position(self._thing)
        return self._middle()[:2] + in_hand[:2] + self._offset

    def carry_height(self, hand: Float64[np.ndarray, " 3"]) -> float:
        """Returns the hand's height at which the thing clears what lies on the rest of the way."""
        target = np.array([*self.hand_xy(hand), 0.0])
        hang = max(hand[2] - self._scene.lowest(self._thing), FINGER_REACH)
        on_the_way = tallest_near_path(self._obstacles, hand, target, PATH_RADIUS)
        # A target that was moved since may leave nothing on the way.
        tallest = max(on_the_way, float(self._middle()[2]))
        return tallest + hang + self._clearance

    def release_height(self, hand: Float64[np.ndarray, " 3"], extra: float) -> float:
        """Returns where the hand lets go: just above a thing, or at the opening of a region.

        Args:
          hand: float64 [3], where the hand is now.
          extra: metres added to that.
        """
        scene = self._scene
        if scene.is_thing(self._target):
            hang = hand[2] - scene.lowest(self._thing)
            return scene.highest(self._target) + hang + extra
        region = scene.region(self._target)
        opening = region.center[2] + region.reach[2]
        above = hand[2] - scene.position(self._thing)[2]
        return max(opening + above + ABOVE_OPENING + extra, self._above_walls())

    def is_placed(self) -> bool:
        """Whether the thing is where the goal wants it, by geometry."""
        scene = self._scene
        position = scene.position(self._thing)
        if not scene.is_thing(self._target):
            return scene.region(self._target).contains(position)
        apart = position - scene.position(self._target)
        return bool(np.linalg.norm(apart[:2]) < ON_TOLERANCE and abs(apart[2]) < 0.1)

    def _middle(self) -> Float64[np.ndarray, " 3"]:
        if self._scene.is_thing(self._target):
            return self._scene.position(self._target)
        return self._scene.region(self._target).center

    def _above_walls(self) -> float:
        """Where the palm is just above the walls around the region."""
        if self._owner is None:
            return -np.inf
        return self._scene.highest(self._owner) - PALM_DEPTH + PALM_CLEARANCE


def _thinned(points: Float64[np.ndarray, "p 3"]) -> Float64[np.ndarray, "q 3"]:
    """Keeps one of the points in each cubic centimetre."""
    _, kept = np.unique(np.round(points, 2), axis=0, return_index=True)
    return points[kept]
