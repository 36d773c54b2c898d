"""The joints of drawers, doors and knobs: where a point of the moving part is when it has moved.

World frame; metres or radians, as the joint has it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from rfsq_jax.libero.stock import mujoco


@dataclasses.dataclass(frozen=True, eq=False)
class Joint:
    """One joint of a fixture, as it stands now.

    Attributes:
      body: number of the body that it moves.
      slides: whether it is a slide, else a hinge.
      anchor: float64 [3], a point on its axis.
      axis: float64 [3], its unit direction.
      value: metres or radians.
      limits: least and greatest value; it is at rest near zero.
    """

    body: int
    slides: bool
    anchor: Float64[np.ndarray, " 3"]
    axis: Float64[np.ndarray, " 3"]
    value: float
    limits: tuple[float, float]

    @property
    def far_end(self) -> float:
        """The limit away from rest: open, or on."""
        return max(self.limits, key=abs)

    @property
    def near_end(self) -> float:
        """The limit at rest: closed, or off."""
        return min(self.limits, key=abs)

    def moved(self, point: Float64[np.ndarray, " 3"], by: float) -> Float64[np.ndarray, " 3"]:
        """Returns where `point` [3] of the moving part is when the value has changed by `by`."""
        if self.slides:
            return point + by * self.axis
        return self.anchor + self.turned(by) @ (point - self.anchor)

    def turned(self, by: float) -> Float64[np.ndarray, "3 3"]:
        """Returns how the moving part has turned when the value has changed by `by`: [3, 3]."""
        return np.eye(3) if self.slides else turn_about(self.axis, by)


def read_joint(model: Any, data: Any, bodies: list[int]) -> Joint | None:
    """Returns the first slide or hinge of `bodies`, numbers of bodies; None without one."""
    kinds = (mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE)
    for joint in range(model.njnt):
        if model.jnt_bodyid[joint] in bodies and model.jnt_type[joint] in kinds:
            low, high = model.jnt_range[joint].tolist()
            return Joint(
                body=int(model.jnt_bodyid[joint]),
                slides=bool(model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE),
                anchor=data.xanchor[joint].copy(),
                axis=data.xaxis[joint].copy(),
                value=float(data.qpos[model.jnt_qposadr[joint]]),
                limits=(low, high),
            )
    return None


def turn_about(axis: Float64[np.ndarray, " 3"], angle: float) -> Float64[np.ndarray, "3 3"]:
    """Returns the rotation by `angle` (rad) about the unit vector `axis`: float64 [3, 3]."""
    return Rotation.from_rotvec(angle * axis).as_matrix()
