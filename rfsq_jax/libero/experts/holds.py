"""Where and how to take hold of a part that moves on a joint: a drawer, a door, a knob.

Axes: P surface points of the moving part · world frame in metres, z up. The columns of an
orientation are the hand's axes: it closes along the second and points along the third.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.experts.grasps import PALM_DEPTH, top_grasps, wrapped_yaw
from rfsq_jax.libero.experts.phases import CLOSE, OPEN
from rfsq_jax.libero.experts.servo import turn_error
from rfsq_jax.libero.joints import Joint, turn_about

UP = np.array([0.0, 0.0, 1.0])
DOWN = np.diag([1.0, -1.0, -1.0])
"""The hand's default orientation."""

PULL_TILT = np.radians(78.0)
"""From straight down: the fingers must come in below the handle of the drawer above."""
PUSH_TILT = np.radians(35.0)
"""Keeps the palm away from the drawers above while a drawer closes."""
HANDLE_DEPTH = 0.017
"""What of a drawer lies this near its outermost point is its handle."""
FINGER_RADIUS = 0.013
KNOB_DEPTH = 0.020
KNOB_RIDGE = 0.012
"""What of a knob lies this near its top is the ridge that the fingers take."""
LEVER = 0.65
"""Where a door is pushed, as a fraction of the way from hinge to edge."""
DOOR_CLEARANCE = 0.012


@dataclasses.dataclass(frozen=True, eq=False)
class Hold:
    """A pose of the hand that moves with a part.

    Attributes:
      point: float64 [3], where the grip site goes.
      hand: float64 [3, 3], the hand's orientation.
      approach: float64 [3], the unit direction from which the hand comes in.
      coming: what the gripper does until it is there: -1 open, +1 close.
    """

    point: Float64[np.ndarray, " 3"]
    hand: Float64[np.ndarray, "3 3"]
    approach: Float64[np.ndarray, " 3"]
    coming: float


def choose_hold(points: Float64[np.ndarray, "p 3"], joint: Joint, *, towards: float) -> Hold:
    """Returns how to bring a joint to the value `towards`.

    Args:
      points: float64 [P, 3], the moving part's surface samples.
      joint: what it moves on, as it stands now.
      towards: metres or radians.

    Raises:
      ValueError: if a door would have to be pulled open, for which there is no hold.
    """
    opens = abs(towards) > abs(joint.value)
    if joint.slides:
        outward = joint.axis * np.sign(joint.far_end)
        return handle_hold(points, outward) if opens else front_push(points, outward)
    if np.abs(points[:, :2] - joint.anchor[:2]).max() < 0.1:
        return knob_hold(points)
    if opens:
        raise ValueError("goal must not be to open a door on a hinge; there is no skill for it")
    return door_push(points, joint, sign=float(np.sign(towards - joint.value)))


def handle_hold(points: Float64[np.ndarray, "p 3"], outward: Float64[np.ndarray, " 3"]) -> Hold:
    """Returns a grasp of a drawer's handle from its front, fingers above and below the bar."""
    hand = tilted(outward, PULL_TILT)
    return Hold(_handle(points, outward), hand, hand[:, 2], OPEN)


def front_push(points: Float64[np.ndarray, "p 3"], outward: Float64[np.ndarray, " 3"]) -> Hold:
    """Returns closed fingers before a drawer's handle, the palm's narrow side towards it."""
    handle = _handle(points, outward)
    before = points @ outward
    point = handle + (before.max() - handle @ outward + FINGER_RADIUS) * outward
    across = turn_about(UP, np.pi / 2) @ outward
    yaw = wrapped_yaw(float(np.arctan2(-across[0], across[1])))
    hand = turn_about(np.cross(UP, outward), PUSH_TILT) @ turn_about(UP, yaw) @ DOWN
    return Hold(point, hand, -outward, CLOSE)


def knob_hold(points: Float64[np.ndarray, "p 3"]) -> Hold:
    """Returns a grasp of a knob's ridge from above."""
    top = points[:, 2].max()
    ridge = points[points[:, 2] > top - KNOB_RIDGE]
    grasp = min(top_grasps(ridge), key=lambda grasp: (round(grasp.price, 2), abs(grasp.yaw)))
    point = np.array([*grasp.point[:2], top - KNOB_DEPTH])
    return Hold(point, turn_about(UP, grasp.yaw) @ DOWN, -UP, OPEN)


def door_push(points: Float64[np.ndarray, "p 3"], joint: Joint, *, sign: float) -> Hold:
    """Returns closed fingers beside a door, where they push it about its hinge.

    Args:
      points: float64 [P, 3], the door's surface samples.
      joint: its hinge, upright.
      sign: of the change of the joint's value.
    """
    from_hinge = points[:, :2] - joint.anchor[:2]
    distance = np.linalg.norm(from_hinge, axis=1)
    edge = from_hinge[distance.argmax()] / distance.max()
    motion = sign * np.sign(joint.axis[2]) * np.array([-edge[1], edge[0]])
    along = from_hinge @ edge
    there = np.abs(along - LEVER * distance.max()) < 0.03
    outside = float((from_hinge[there] @ -motion).max()) + FINGER_RADIUS
    flat = joint.anchor[:2] + LEVER * distance.max() * edge - outside * motion
    height = points[:, 2].max() - PALM_DEPTH + DOOR_CLEARANCE
    return Hold(np.array([*flat, height]), DOWN, np.array([*motion, 0.0]), CLOSE)


def nearer_turned(hold: Hold, quaternion: Float64[np.ndarray, " 4"]) -> Hold:
    """Returns a push with the hand turned by half a turn if that is nearer to how it is now.

    Args:
      hold: closed fingers, for which both are the same.
      quaternion: float64 [4], the hand's orientation now, (x, y, z, w).
    """
    other = hold.hand @ np.diag([-1.0, -1.0, 1.0])
    angles = [np.linalg.norm(turn_error(quaternion, hand)) for hand in (hold.hand, other)]
    return hold if angles[0] <= angles[1] else dataclasses.replace(hold, hand=other)


def tilted(outward: Float64[np.ndarray, " 3"], angle: float) -> Float64[np.ndarray, "3 3"]:
    """Returns the hand's orientation when it points down and, by `angle` (rad), against `outward`.

    Args:
      outward: float64 [3], horizontal unit vector; the fingers close in its plane with the
        vertical.
      angle: radians from straight down.
    """
    yaw = wrapped_yaw(float(np.arctan2(-outward[0], outward[1])))
    return turn_about(np.cross(UP, outward), angle) @ turn_about(UP, yaw) @ DOWN


def _handle(
    points: Float64[np.ndarray, "p 3"], outward: Float64[np.ndarray, " 3"]
) -> Float64[np.ndarray, " 3"]:
    """The middle of the outermost part of a drawer."""
    before = points @ outward
    handle = points[before > before.max() - HANDLE_DEPTH]
    return 0.5 * (handle.min(axis=0) + handle.max(axis=0))
