"""Feedback from where the gripper is to where it should be, within the limits of a SpaceMouse.

World frame; metres and radians; quaternions are (x, y, z, w).
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from rfsq_jax.libero.experts.style import Style
from rfsq_jax.libero.lattice import MAX_ROTATION


def rotation_error(quaternion: Float64[np.ndarray, " 4"], yaw: float) -> Float64[np.ndarray, " 3"]:
    """Returns the rotation that turns the hand straight down at `yaw`.

    Args:
      quaternion: float64 [4], the hand's orientation.
      yaw: radians about the vertical from the hand's default orientation, diag(1, -1, -1).

    Returns:
      float64 [3], a rotation vector in the world, of length at most pi.
    """
    c, s = math.cos(0.5 * yaw), math.sin(0.5 * yaw)
    x, y, z, w = quaternion.tolist()
    # (c, s, 0, 0) times the conjugate of the quaternion.
    vector = (c * w - s * z, s * w + c * z, s * x - c * y)
    scalar = c * x + s * y
    sign = 1.0 if scalar >= 0 else -1.0
    length = math.hypot(*vector)
    if length < 1e-9:
        return np.zeros(3)
    return np.array(vector) * (sign * 2.0 * math.atan2(length, abs(scalar)) / length)


def turn_error(
    quaternion: Float64[np.ndarray, " 4"], wanted: Float64[np.ndarray, "3 3"]
) -> Float64[np.ndarray, " 3"]:
    """Returns the rotation that turns the hand to any orientation.

    Args:
      quaternion: float64 [4], the hand's orientation.
      wanted: float64 [3, 3], the orientation to reach; its columns are the hand's axes.

    Returns:
      float64 [3], a rotation vector in the world, of length at most pi.
    """
    turn = Rotation.from_matrix(wanted) * Rotation.from_quat(quaternion).inv()
    return turn.as_rotvec()


NEAR = 0.03
"""Metres from the goal within which the servo also pushes against joint friction."""
PUSH_GAIN = 3.0
PUSH_KEPT = 0.9


class Servo:
    """Turns pose errors into actions.

    It remembers its last action, to start moving gently, and a leaky sum of small errors, without
    which friction in the joints holds the arm up to a centimetre from its goal.
    """

    def __init__(self, style: Style) -> None:
        self._style = style
        self._last = np.zeros(3)
        self._push = np.zeros(3)

    def __call__(
        self,
        position_error: Float64[np.ndarray, " 3"],
        rotation_error: Float64[np.ndarray, " 3"],
        *,
        speed: float,
        gripper: float,
    ) -> Float64[np.ndarray, " 7"]:
        """Returns the action for the errors (m, rad).

        Args:
          position_error: float64 [3], metres.
          rotation_error: float64 [3], radians.
          speed: fraction of the style's top speed that is allowed now, 0..1.
          gripper: -1 open, +1 close.

        Returns:
          float64 [7].
        """
        style = self._style
        near = float(np.abs(position_error).max()) < NEAR
        self._push = PUSH_KEPT * self._push + (PUSH_GAIN * position_error if near else 0.0)
        velocity = style.gain * position_error + self._push
        velocity = _shorten(velocity, speed * style.top_speed)
        turn = np.clip(style.turn_gain * rotation_error, -MAX_ROTATION, MAX_ROTATION)
        velocity = self._gently(velocity)
        return np.concatenate([velocity, turn, [gripper]])

    def settle(self) -> None:
        """Forgets what it was pushing against."""
        self._push = np.zeros(3)

    def _gently(self, velocity: np.ndarray) -> np.ndarray:
        """Limits how fast the speed grows; braking is free."""
        before = float(np.abs(self._last).max())
        self._last = _shorten(velocity, before + self._style.acceleration)
        return self._last


def _shorten(vector: np.ndarray, limit: float) -> np.ndarray:
    """Scales a vector so that no component exceeds `limit`."""
    largest = float(np.abs(vector).max())
    return vector if largest <= limit else vector * (limit / largest)
