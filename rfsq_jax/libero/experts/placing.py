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
FLAT = 0.01
"""A region of at most this half height is a surface, not a room."""
SUPPORT_RADIUS, SUPPORT_RISE = 0.05, 0.03
"""Where to look for what bears a thing on a surface: so far around, so far above its site."""
OUT_OF_DRAWER = 0.015
"""How far before the middle of an open drawer a thing is put, away from what is above."""
DRAWER_ROOM = 0.008
"""How far from a piece of furniture the palm stays when it reaches into an open part."""


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
        self._moves = not scene.is_thing(target) and scene.joint(target) is not None
        self.obstacles = np.zeros((0, 3))

    def look_around(self) -> None:
        """Notes what lies about, before the thing is carried."""
        self.obstacles = _thinned(self._scene.obstacles(self._thing))

    @property
    def turn(self) -> float:
        """How far the hand turns about the vertical on the way, radians."""
        return 0.0

    @property
    def room(self) -> float:
        """What the hand must keep from obstacles, metres."""
        return DRAWER_ROOM if self._moves else 0.0

    def way(self) -> Float64[np.ndarray, " 3"] | None:
        """Returns how far the thing has to go into an open drawer, [3]; None for another target."""
        if not self._moves:
            return None
        region = self._scene.region(self._target)
        way = self._middle() - self._scene.position(self._thing)
        way[2] = region.center[2] + region.reach[2] - self._scene.lowest(self._thing)
        return way

    def hand_xy(self, hand: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 2"]:
        """Returns where the hand must be for the thing to be above its target: float64 [2]."""
        in_hand = hand - self._scene.position(self._thing)
        return self._middle()[:2] + in_hand[:2] + self._offset

    def carry_height(self, hand: Float64[np.ndarray, " 3"]) -> float:
        """Returns the hand's height at which the thing clears what lies on the rest of the way."""
        target = np.array([*self.hand_xy(hand), 0.0])
        hang = max(hand[2] - self._scene.lowest(self._thing), FINGER_REACH)
        on_the_way = tallest_near_path(self.obstacles, hand, target, PATH_RADIUS)
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
        if region.reach[2] < FLAT:
            return self._support(opening) + hand[2] - scene.lowest(self._thing) + extra
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
        middle = self._scene.region(self._target).center
        joint = self._scene.joint(self._target) if self._moves else None
        if joint is not None:
            middle = middle + OUT_OF_DRAWER * np.sign(joint.far_end) * joint.axis
        return middle

    def _support(self, surface: float) -> float:
        """The height of what bears a thing on a flat region, which may be above its site."""
        if self._owner is None:
            return surface
        points = self._scene.points(self._owner)
        beside = np.linalg.norm(points[:, :2] - self._middle()[:2], axis=1)
        bearing = points[(beside < SUPPORT_RADIUS) & (points[:, 2] < surface + SUPPORT_RISE), 2]
        return float(max(surface, bearing.max(initial=-np.inf)))

    def _above_walls(self) -> float:
        """Where the palm is just above the walls around the region."""
        if self._owner is None:
            return -np.inf
        joint = self._scene.joint(self._target) if self._moves else None
        if joint is None:
            walls = self._scene.highest(self._owner)
        else:
            walls = float(self._scene.part_points(joint.body)[:, 2].max())
        return walls - PALM_DEPTH + PALM_CLEARANCE


def _thinned(points: Float64[np.ndarray, "p 3"]) -> Float64[np.ndarray, "q 3"]:
    """Keeps one of the points in each cubic centimetre."""
    _, kept = np.unique(np.round(points, 2), axis=0, return_index=True)
    return points[kept]
