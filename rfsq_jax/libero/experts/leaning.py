"""Lays a standing thing down on a slope, such as a bottle on a rack: leans it uphill, lets go.

World frame, z up, metres and radians.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.environment import RobotState
from rfsq_jax.libero.experts.grasps import wrapped_yaw
from rfsq_jax.libero.experts.phases import Aim, Phase
from rfsq_jax.libero.experts.pick_place import PATIENCE, PickPlace
from rfsq_jax.libero.experts.placing import Placing
from rfsq_jax.libero.experts.servo import rotation_error
from rfsq_jax.libero.scene import Region

LEVEL = 0.9
"""The upright part of its normal from which on a region counts as level."""
SHARE = 0.65
"""What share of the way to a region's normal a thing leans in the hand; the rest it falls."""
UPHILL = 0.02
"""How far uphill of the region's middle its foot comes down."""
RISE = 0.026
"""How far above that it is let go, so that its edge is clear of the slope."""
TURNED = 0.15
"""Radians from its orientation at which the hand counts as turned."""
CARRYING = (Phase.CARRY, Phase.LOWER, Phase.RELEASE)


class Slope(Placing):
    """A region that is not level; what lies there points along its normal."""

    allowed = 0.5

    @property
    def normal(self) -> Float64[np.ndarray, " 3"]:
        """Its unit normal, upwards: float64 [3]."""
        return region_normal(self._scene.region(self._target))

    def release_height(self, hand: Float64[np.ndarray, " 3"], extra: float) -> float:
        """Returns where the hand lets go: the thing's foot just above the slope."""
        in_hand = hand - self._scene.position(self._thing)
        return float(self._middle()[2] + in_hand[2] + RISE + max(extra, 0.0))

    def _middle(self) -> Float64[np.ndarray, " 3"]:
        return self._scene.region(self._target).center + UPHILL * self.normal


class LayDown(PickPlace[Slope]):
    """One standing thing, one slope; the goal itself says whether it lies there."""

    def _aim(self, hand: np.ndarray, robot: RobotState) -> Aim:
        aim = super()._aim(hand, robot)
        if self.phase is not Phase.CARRY:
            return aim
        turn = rotation_error(robot.eef_quat, self._yaw()) + self._lean()
        turned = float(np.linalg.norm(turn + self._tilt())) < TURNED
        arrived = (aim.arrived and turned) or self._steps > 2 * PATIENCE
        return Aim(aim.point, aim.gripper, arrived, aim.speed)

    def _yaw(self) -> float:
        if self.phase not in CARRYING:
            return super()._yaw()
        return across(self._placing.normal)

    def _lean(self) -> Float64[np.ndarray, " 3"]:
        if self.phase not in CARRYING:
            return super()._lean()
        return SHARE * lean_towards(self._placing.normal)

    def _slip(self, hand: np.ndarray) -> float:
        """How far the thing has moved away from the hand; leaning turns it about the hand."""
        return self._picking.drift(hand)


def is_slope(region: Region) -> bool:
    """Whether a region is tilted too far for things to stand on it."""
    return abs(float(region.rotation[2, 2])) < LEVEL


def region_normal(region: Region) -> Float64[np.ndarray, " 3"]:
    """Returns the unit normal of a region, upwards: float64 [3]."""
    normal = region.rotation[:, 2]
    return normal if normal[2] >= 0 else -normal


def lean_towards(normal: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 3"]:
    """Returns the rotation vector that takes the vertical to a unit vector: float64 [3]."""
    axis = np.array([-normal[1], normal[0], 0.0])
    length = float(np.linalg.norm(axis))
    return axis * (np.arctan2(length, normal[2]) / max(length, 1e-9))


def across(normal: Float64[np.ndarray, " 3"]) -> float:
    """Returns the yaw at which fingers close across the direction in which a normal leans."""
    yaw = wrapped_yaw(float(np.arctan2(normal[1], normal[0])))
    # At either end of the range the same; the positive one is far from the wrist's limit.
    return yaw + np.pi if yaw < -np.radians(80.0) else yaw
