"""Where a held thing has to go, how high on the way, and whether it is there.

Axes: P, Q surface points · K turns · world frame, metres and radians.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.experts.grasps import FINGER_REACH, PALM_DEPTH
from rfsq_jax.libero.experts.style import Style
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
CAREFUL = 0.3
"""What part of the style's error of placement a tight place allows."""
GAP = 0.004
"""What is left free between neighbours."""
NUM_TURNS = 73
ABOVE_WALLS = 0.004
"""How far above the walls of a compartment the open fingers stay."""


class Placing:
    """Puts one thing on another, or into a region.

    Attributes:
      turn: how far the hand turns about the vertical on the way, radians.
      obstacles: float64 [Q, 3], surface samples of what lay about when the thing was taken.
    """

    allowed = 1.0
    """What part of the style's error of placement the place allows."""

    def __init__(self, scene: Scene, thing: str, target: str, style: Style) -> None:
        """Describes a placement.

        Args:
          scene: where.
          thing: what is placed.
          target: a thing to put it on or a region to put it into.
          style: how far off the middle it is put, and how high above other things it is carried.
        """
        self._scene, self._thing, self._target = scene, thing, target
        self._offset = self.allowed * np.array(style.place_offset)
        self._clearance = style.carry_height
        self.turn = 0.0
        self._owner = scene.owner(target)
        self._moves = not scene.is_thing(target) and scene.joint(target) is not None
        self.obstacles = np.zeros((0, 3))

    def look_around(self) -> None:
        """Notes what lies about, a point in each cubic centimetre, before the thing is carried."""
        points = self._scene.obstacles(self._thing)
        _, kept = np.unique(np.round(points, 2), axis=0, return_index=True)
        self.obstacles = points[kept]

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


class Sharing(Placing):
    """One of several places in a row on one surface."""

    allowed = CAREFUL

    def __init__(
        self, scene: Scene, thing: str, target: str, style: Style, sharers: Sequence[str]
    ) -> None:
        """Describes a placement, see `Placing`; `sharers` go there in order, `thing` among them."""
        super().__init__(scene, thing, target, style)
        places = row_places([scene.points(name) for name in sharers])
        self._place = places[list(sharers).index(thing)]

    def _middle(self) -> Float64[np.ndarray, " 3"]:
        middle = super()._middle()
        middle[:2] += self._place
        return middle


class Compartment(Placing):
    """A narrow region between walls: a long thing stands in it upright, turned so that it fits."""

    allowed = CAREFUL

    def look_around(self) -> None:
        """Notes what lies about and how the thing is held, before it is carried."""
        super().look_around()
        region = self._scene.region(self._target)
        self.turn = fitting_turn(self._scene.points(self._thing), region.reach)

    def hand_xy(self, hand: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 2"]:
        """Returns where the hand must be for the thing to be above its place: float64 [2]."""
        points = self._scene.points(self._thing)[:, :2]
        middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
        return self._middle()[:2] + hand[:2] - middle + self._offset

    def release_height(self, hand: Float64[np.ndarray, " 3"], extra: float) -> float:
        """Returns where the hand lets go: its open fingers stay above the walls."""
        walls = self._scene.highest(self._owner) if self._owner else -np.inf
        return walls + FINGER_REACH + ABOVE_WALLS + max(extra, 0.0)


def row_places(
    things: Sequence[Float64[np.ndarray, "_ 3"]],
) -> list[Float64[np.ndarray, " 2"]]:
    """Returns where in a row along their narrow side things stand, from its middle.

    Args:
      things: surface samples float64 [P, 3] of each.

    Returns:
      float64 [2] for each: the first stands farthest along x, or y.
    """
    extents = np.stack([np.ptp(points[:, :2], axis=0) for points in things])
    axis = int(extents.max(axis=0).argmin())
    widths = extents[:, axis] + GAP
    ends = np.cumsum(widths)
    centres = 0.5 * ends[-1] - (ends - 0.5 * widths)
    return [np.eye(2)[axis] * centre for centre in centres]


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
