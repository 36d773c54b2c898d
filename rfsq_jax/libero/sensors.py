"""What the robot feels of itself, and what a policy is told of it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64


@dataclasses.dataclass(frozen=True, eq=False)
class RobotState:
    """What the robot feels of itself; `state` is what a policy is shown, the rest is the present.

    Attributes:
      state: float32 [8], as the stock environment reports it: end-effector position (m), axis-angle
        (rad), the two finger positions (m).
      eef_pos: float64 [3], metres.
      eef_quat: float64 [4], (x, y, z, w).
      gripper_qpos: float64 [2], finger positions, metres.
      joint_pos: float64 [7], arm joints, radians.
    """

    state: Float32[np.ndarray, " 8"]
    eef_pos: Float64[np.ndarray, " 3"]
    eef_quat: Float64[np.ndarray, " 4"]
    gripper_qpos: Float64[np.ndarray, " 2"]
    joint_pos: Float64[np.ndarray, " 7"]


class Sensors:
    """Reads the robot's proprioception from the simulator."""

    def __init__(self, domain: Any) -> None:
        """Looks up the robot of a robosuite environment."""
        robot = domain.robots[0]
        self._data: Any = domain.sim.data._data
        self._site = robot.eef_site_id
        self._body = domain.sim.model.body_name2id(robot.robot_model.eef_name)
        self._fingers = robot._ref_gripper_joint_pos_indexes
        self._joints = robot._ref_joint_pos_indexes

    def observe(self, shown_state: Float32[np.ndarray, " 8"]) -> RobotState:
        """Returns the present, beside what a policy is shown."""
        return RobotState(
            state=shown_state.copy(),
            eef_pos=self._data.site_xpos[self._site].copy(),
            eef_quat=self._data.xquat[self._body][[1, 2, 3, 0]],
            gripper_qpos=self._data.qpos[self._fingers],
            joint_pos=self._data.qpos[self._joints],
        )

    def policy_state(self) -> Float32[np.ndarray, " 8"]:
        """Returns position, axis-angle and fingers now: float32 [8]."""
        position = self._data.site_xpos[self._site]
        rotation = axis_angle_from_quaternion(self._data.xquat[self._body][[1, 2, 3, 0]])
        fingers = self._data.qpos[self._fingers]
        return np.concatenate([position, rotation, fingers]).astype(np.float32)


def axis_angle_from_quaternion(quaternion: Float64[np.ndarray, " 4"]) -> Float64[np.ndarray, " 3"]:
    """Turns (x, y, z, w) into a rotation vector of angle 0..2 pi, as the benchmark has it."""
    w = min(max(float(quaternion[3]), -1.0), 1.0)
    sine = math.sqrt(1.0 - w * w)
    if math.isclose(sine, 0.0):
        return np.zeros(3)
    return quaternion[:3] * 2.0 * math.acos(w) / sine
