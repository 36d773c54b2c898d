"""Puts a thing with a handle through the open side of a covered place: down before it, in, down,
back out.

Axes: P, Q surface points · world frame, z up, metres and radians; one step is 50 ms.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.environment import RobotState
from rfsq_jax.libero.experts.grasps import Grasp, closing_direction, wrapped_yaw
from rfsq_jax.libero.experts.phases import CLOSE, OPEN, Aim, Phase
from rfsq_jax.libero.experts.pick_place import PATIENCE, STALLED, PickPlace
from rfsq_jax.libero.experts.picking import Picking
from rfsq_jax.libero.experts.placing import CAREFUL, Placing
from rfsq_jax.libero.experts.style import Style
from rfsq_jax.libero.joints import turn_about
from rfsq_jax.libero.scene import Region, Scene

LEAN = 0.6
"""Radians by which the palm leans outwards."""
HANDLE_DEPTH = 0.012
"""What of a thing lies this near its outermost point is its handle."""
NUM_DIRECTIONS = 72
BELOW_TOP = 0.014
"""How deep below its top a handle is held."""
OVER_FLOOR = 0.012
"""How high above the floor it moves in."""
ON_FLOOR = 0.002
TOWARDS_OPENING = 0.5
"""How far from the region's middle to that of its opening it goes in: off an open door."""
BEFORE = 0.12
"""How far before the region a thing waits."""
INSIDE = 0.025
"""How far behind the region's near edge it is put."""
BACK_STEPS = 14
LEVELLED = 0.008
ENTERED = 0.01


class HandlePicking(Picking):
    """Takes a thing by its handle, the palm leaning away from it."""

    def _choose(
        self, hand: np.ndarray, obstacles: np.ndarray, room: float, carried: np.ndarray | None
    ) -> Grasp:
        return handle_grasp(self._scene.points(self.thing))


class Insertion(Placing):
    """Puts a thing into a place under a roof, through its open side, the handle outwards."""

    allowed = CAREFUL

    def __init__(self, scene: Scene, thing: str, target: str, style: Style) -> None:
        """Describes a placement, see `Placing`."""
        super().__init__(scene, thing, target, style)
        region = scene.region(target)
        walls = scene.points(scene.owner(target) or target)
        self.outward = open_side(walls, region)
        self.floor = floor_height(walls, region)
        self._side = TOWARDS_OPENING * middle_of_opening(walls, region, self.outward)
        self.enters = False

    def look_around(self) -> None:
        """Notes what lies about, and how far to turn so that the handle points out."""
        super().look_around()
        handle = handle_direction(self._scene.points(self._thing))
        self.turn = angle_between(handle, self.outward)
        self.enters = False

    def carry_height(self, hand: Float64[np.ndarray, " 3"]) -> float:
        """Returns the hand's height at which the thing clears what is on its way and the floor."""
        return max(super().carry_height(hand), self.level(hand, OVER_FLOOR))

    def level(self, hand: Float64[np.ndarray, " 3"], above_floor: float) -> float:
        """Returns the hand's height at which the thing is so far above the floor, metres."""
        return self.floor + hand[2] - self._scene.position(self._thing)[2] + above_floor

    def _middle(self) -> Float64[np.ndarray, " 3"]:
        region = self._scene.region(self._target)
        across = np.array([-self.outward[1], self.outward[0]])
        edge = float(np.abs(region.reach[:2] @ self.outward))
        out = edge - INSIDE if self.enters else edge + BEFORE
        flat = region.center[:2] + out * self.outward + self._side * across
        return np.array([*flat, region.center[2]])


class Insert(PickPlace[Insertion]):
    """One thing, one place under a roof."""

    def _aim(self, hand: np.ndarray, robot: RobotState) -> Aim:
        if self.phase is Phase.LOWER:
            return self._go_in(hand)
        if self.phase is Phase.RETREAT:
            out = np.array([*self._placing.outward, 0.0])
            return Aim(hand + 0.06 * out, OPEN, self._steps >= BACK_STEPS)
        return super()._aim(hand, robot)

    def _go_in(self, hand: np.ndarray) -> Aim:
        placing = self._placing
        beside = np.linalg.norm(placing.hand_xy(hand) - hand[:2])
        height = placing.level(hand, OVER_FLOOR)
        if not placing.enters:
            placing.enters = bool(abs(height - hand[2]) < LEVELLED and beside < ENTERED)
            beside = np.inf
        if beside < ENTERED or self._steps > 2 * PATIENCE:
            height = placing.level(hand, ON_FLOOR)
        arrived = beside < 2 * ENTERED and hand[2] < height + 0.004
        arrived |= self._still > STALLED and placing.enters
        goal = np.array([*placing.hand_xy(hand), height])
        return Aim(goal, CLOSE, bool(arrived), speed=0.6)

    def _lean(self) -> Float64[np.ndarray, " 3"]:
        turned = turn_about(np.array([0.0, 0.0, 1.0]), self._yaw() - self._picking.yaw)
        return turned @ self._picking.lean

    def _tilt(self) -> Float64[np.ndarray, " 3"]:
        return CAREFUL * super()._tilt()


def is_covered(walls: Float64[np.ndarray, "q 3"], region: Region) -> bool:
    """Whether some of `walls` [Q, 3] are above the middle of a region."""
    inside = np.abs(walls[:, :2] - region.center[:2]) < 0.5 * region.reach[:2]
    return bool((inside.all(axis=1) & (walls[:, 2] > region.center[2])).any())


def open_side(walls: Float64[np.ndarray, "q 3"], region: Region) -> Float64[np.ndarray, " 2"]:
    """Returns the horizontal axis direction with the fewest walls on the way out: float64 [2]."""
    offset = (walls - region.center) / region.reach
    counts = {}
    for axis, sign in ((0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0)):
        beside = np.abs(np.delete(offset, axis, axis=1)).max(axis=1) < 0.5
        counts[axis, sign] = int((beside & (sign * offset[:, axis] > 0.5)).sum())
    axis, sign = min(counts, key=lambda key: counts[key])
    return sign * np.eye(2)[axis]


def floor_height(walls: Float64[np.ndarray, "q 3"], region: Region) -> float:
    """Returns the height of what a thing in the region stands on, metres."""
    inside = np.abs(walls[:, :2] - region.center[:2]) < 0.4 * region.reach[:2]
    below = inside.all(axis=1) & (walls[:, 2] < region.center[2])
    return float(walls[below, 2].max(initial=region.center[2] - region.reach[2]))


def middle_of_opening(
    walls: Float64[np.ndarray, "q 3"], region: Region, outward: Float64[np.ndarray, " 2"]
) -> float:
    """Returns how far left of the region's middle, seen against `outward`, that of its opening is.

    Args:
      walls: float64 [Q, 3], surface samples of what the region belongs to.
      region: the place inside.
      outward: float64 [2], unit vector through the open side.

    Returns:
      metres along `outward` turned by a quarter turn to the left.
    """
    offset = walls - region.center
    out = offset[:, :2] @ outward
    across = offset[:, :2] @ np.array([-outward[1], outward[0]])
    beside = (np.abs(out) < 0.5 * abs(region.reach[:2] @ outward)) & (
        np.abs(offset[:, 2]) < 0.5 * region.reach[2]
    )
    left = across[beside & (across > 0)].min(initial=np.inf)
    right = across[beside & (across < 0)].max(initial=-np.inf)
    return float(0.5 * (left + right)) if np.isfinite(left + right) else 0.0


def handle_direction(points: Float64[np.ndarray, "p 3"]) -> Float64[np.ndarray, " 2"]:
    """Returns the direction, seen from above, of the narrow end of a thing [P, 3]: float64 [2]."""
    angles = np.linspace(-np.pi, np.pi, NUM_DIRECTIONS, endpoint=False)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    longest = directions[np.ptp(points[:, :2] @ directions.T, axis=0).argmax()]
    return min((longest, -longest), key=lambda outward: _end_width(points, outward))


def _end_width(points: np.ndarray, outward: np.ndarray) -> float:
    out = points[:, :2] @ outward
    across = points[:, :2] @ np.array([-outward[1], outward[0]])
    return float(np.ptp(across[out > out.max() - HANDLE_DEPTH]))


def handle_grasp(points: Float64[np.ndarray, "p 3"]) -> Grasp:
    """Returns a grasp across the handle of a thing [P, 3], the palm leaning away from the thing."""
    outward = handle_direction(points)
    out = points[:, :2] @ outward
    handle = points[out > out.max() - HANDLE_DEPTH]
    middle = 0.5 * (handle.min(axis=0) + handle.max(axis=0))
    yaw = wrapped_yaw(float(np.arctan2(outward[1], outward[0])))
    sign = float(np.sign(closing_direction(yaw + np.pi / 2) @ outward))
    point = np.array([*middle[:2], handle[:, 2].max() - BELOW_TOP])
    return Grasp(point, yaw, 0.0, sign * LEAN)


def angle_between(start: Float64[np.ndarray, " 2"], end: Float64[np.ndarray, " 2"]) -> float:
    """Returns the turn to the left from one horizontal direction to another, -pi..pi."""
    cross = start[0] * end[1] - start[1] * end[0]
    return float(np.arctan2(cross, start @ end))
