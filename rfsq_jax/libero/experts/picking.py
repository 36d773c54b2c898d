"""Which grasp of a thing is tried, which way it is taken out, and whether it is still in the hand.

Axes: P, Q surface points · world frame in metres, z up.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.experts.grasps import FINGER_REACH, Grasp, choose_grasp
from rfsq_jax.libero.experts.placing import PATH_RADIUS
from rfsq_jax.libero.experts.style import Style
from rfsq_jax.libero.scene import Scene, tallest_near_path

RETRY_TASTE = 0.25
"""What failed once is tried a little differently."""
OVERHANG_MARGIN = 0.015
LONGEST_WAY_OUT = 0.15
"""Metres out from under what hangs over a thing; a longer way is no way out."""
SLIPPED = 0.035
"""A held thing that moved this far in the hand is lost."""
CLINGS = 0.02
"""A released thing that moved less than this in the hand has not left it."""


class Picking:
    """Chooses grasps of one thing, remembers those that went wrong, and whether it slips."""

    def __init__(self, scene: Scene, thing: str, style: Style, rng: np.random.Generator) -> None:
        self.thing = thing
        self._scene = scene
        self._style, self._rng = style, rng
        self._failed: list[np.ndarray] = []
        self._grasp: Grasp | None = None
        self._point_in_thing, self._in_hand = np.zeros(3), np.zeros(3)

    @property
    def planned(self) -> bool:
        """Whether a grasp has been chosen."""
        return self._grasp is not None

    @property
    def attempts(self) -> int:
        """How many grasps have gone wrong."""
        return len(self._failed)

    @property
    def misses(self) -> bool:
        """Whether the present grasp is meant to go wrong."""
        return self.attempts == 0 and self._style.miss is not None

    @property
    def yaw(self) -> float:
        """Yaw of the hand for the present grasp, radians."""
        return self._chosen().yaw + (self._style.grasp_yaw if self.attempts == 0 else 0.0)

    @property
    def lean(self) -> Float64[np.ndarray, " 3"]:
        """How the hand leans in the present grasp, a rotation vector: float64 [3]."""
        return self._chosen().lean_vector()

    def point(self) -> Float64[np.ndarray, " 3"]:
        """Returns where the grip site should be; it moves with the thing: float64 [3]."""
        scene = self._scene
        return scene.position(self.thing) + scene.rotation(self.thing) @ self._point_in_thing

    def plan(
        self,
        hand: Float64[np.ndarray, " 3"],
        *,
        room: float = 0.0,
        carried: Float64[np.ndarray, " 3"] | None = None,
    ) -> float:
        """Chooses a grasp of the thing as it lies now.

        Args:
          hand: float64 [3], where the hand comes from.
          room: metres that it keeps from obstacles.
          carried: float64 [3], see `choose_grasp`.

        Returns:
          the height at which it clears what lies on the way, metres.
        """
        scene, style = self._scene, self._style
        obstacles = scene.obstacles(self.thing)
        self._grasp = self._choose(hand, obstacles, room, carried)
        point = self._grasp.point
        from_middle = point + self._error() - scene.position(self.thing)
        self._point_in_thing = scene.rotation(self.thing).T @ from_middle
        tallest = tallest_near_path(obstacles, hand, point, PATH_RADIUS)
        clear = tallest + FINGER_REACH + style.carry_height
        return float(max(point[2] + style.hover_height, clear))

    def give_up(self) -> None:
        """Counts the present grasp as one that went wrong."""
        self._failed.append(self._chosen().point)

    def way_out(
        self, obstacles: Float64[np.ndarray, "q 3"], hand: Float64[np.ndarray, " 3"]
    ) -> Float64[np.ndarray, " 2"]:
        """Returns the thing's `way_out` from under obstacles [Q, 3], held at `hand` [3]."""
        return way_out(obstacles, self._scene.points(self.thing), hand, self._scene.base)

    def take(self, hand: Float64[np.ndarray, " 3"]) -> None:
        """Notes where the thing is in a hand at `hand` [3] that has just closed."""
        self._in_hand = self._offset(hand)

    def slip(self, hand: Float64[np.ndarray, " 3"]) -> float:
        """Returns how far the thing has moved in the hand, now at `hand` [3], metres."""
        return float(np.linalg.norm(self._offset(hand) - self._in_hand))

    def drift(self, hand: Float64[np.ndarray, " 3"]) -> float:
        """Returns how far it has moved to or from the hand; turning with it does not count."""
        return float(abs(np.linalg.norm(self._offset(hand)) - np.linalg.norm(self._in_hand)))

    def clings(self, hand: Float64[np.ndarray, " 3"]) -> bool:
        """Whether the thing has not left the open hand, as corners wedged on a finger may."""
        return self.slip(hand) < CLINGS

    def _offset(self, hand: np.ndarray) -> Float64[np.ndarray, " 3"]:
        return hand - self._scene.position(self.thing)

    def _choose(
        self, hand: np.ndarray, obstacles: np.ndarray, room: float, carried: np.ndarray | None
    ) -> Grasp:
        return choose_grasp(
            self._scene.points(self.thing),
            obstacles,
            base=self._scene.base,
            failed=self._failed,
            taste=self._style.grasp_taste if self.attempts == 0 else RETRY_TASTE,
            rng=self._rng,
            hand=hand,
            nearness=self._style.grasp_nearness,
            room=room,
            carried=carried,
        )

    def _error(self) -> Float64[np.ndarray, " 3"]:
        """How far the style puts the grasp off; only the first."""
        if self.attempts > 0:
            return np.zeros(3)
        return np.array(self._style.grasp_offset) + np.array(self._style.miss or (0.0, 0.0, 0.0))

    def _chosen(self) -> Grasp:
        if self._grasp is None:
            raise RuntimeError("plan must be called before the grasp is used")
        return self._grasp


def way_out(
    obstacles: Float64[np.ndarray, "q 3"],
    thing: Float64[np.ndarray, "p 3"],
    hand: Float64[np.ndarray, " 3"],
    base: Float64[np.ndarray, " 3"],
) -> Float64[np.ndarray, " 2"]:
    """Returns how far to move a thing towards the arm's base so that nothing hangs over it.

    Args:
      obstacles: float64 [Q, 3], surface samples of what may be in the way.
      thing: float64 [P, 3], those of the thing.
      hand: float64 [3], where it is held.
      base: float64 [3], where the arm stands.

    Returns:
      float64 [2], metres.
    """
    back = base[:2] - hand[:2]
    back = back / np.linalg.norm(back)
    side = np.array([-back[1], back[0]])
    along, across = thing[:, :2] @ back, thing[:, :2] @ side
    above = obstacles[obstacles[:, 2] > thing[:, 2].max() + OVERHANG_MARGIN]
    above_along, above_across = above[:, :2] @ back, above[:, :2] @ side
    over = (above_across > across.min() - OVERHANG_MARGIN) & (
        above_across < across.max() + OVERHANG_MARGIN
    )
    over &= above_along > along.min() - OVERHANG_MARGIN
    over &= above_along < along.max() + OVERHANG_MARGIN
    if not over.any():
        return np.zeros(2)
    distance = above_along[over].max() + OVERHANG_MARGIN - along.min()
    return min(distance, LONGEST_WAY_OUT) * back
