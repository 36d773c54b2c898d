"""How RLDS data sets keep an episode's numbers, and what becomes of them in our convention.

Axes: N steps · K stored state dims.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float32
from scipy.spatial.transform import Rotation

from rfsq_jax.data.episodes import ACTION_DIM, METRES_PER_ACTION, RADIANS_PER_ACTION


@dataclasses.dataclass(frozen=True, kw_only=True)
class RldsFields:
    """Where a data set keeps what an `Episode` needs, and in which convention.

    Attributes:
      images: names of the images under steps/observation, by our camera.
      state_dim: K; position (3), rotation (3), then one or two numbers of the gripper.
      rotation: "axis_angle", or "euler" (roll, pitch, yaw about fixed axes), of state and action.
      gripper: "signed" (-1 open, +1 close), or "opening" (0 closed, 1 open).
      metres: what a translation of 1.0 in an action moves.
      radians: what a rotation of 1.0 in an action turns.
    """

    images: Mapping[str, str]
    state_dim: int
    rotation: Literal["axis_angle", "euler"]
    gripper: Literal["signed", "opening"]
    metres: float
    radians: float

    def widths(self) -> dict[str, int | None]:
        """The fields that are read, each with its numbers per step; None for bytes."""
        images = {f"steps/observation/{name}": None for name in self.images.values()}
        numbers = {"steps/action": ACTION_DIM, "steps/observation/state": self.state_dim}
        return {**numbers, "steps/language_instruction": None, **images}


LIBERO = RldsFields(
    images={"agentview": "image", "robot0_eye_in_hand": "wrist_image"},
    state_dim=8,
    rotation="axis_angle",
    gripper="signed",
    metres=METRES_PER_ACTION,
    radians=RADIANS_PER_ACTION,
)
"""OpenVLA's modified_libero_rlds."""

BRIDGE = RldsFields(
    images={"agentview": "image_0"},
    state_dim=7,
    rotation="euler",
    gripper="opening",
    metres=1.0,
    radians=1.0,
)
"""BridgeData V2. Its one number for the gripper, 0 to 1, stands for both fingers: +g and -g."""


def convert_actions(
    stored: Float32[np.ndarray, "n 7"], source: str, fields: RldsFields
) -> Float32[np.ndarray, "n 7"]:
    """Into the environment's units, the gripper -1 open and +1 close.

    Raises:
      ValueError: if the gripper is not as `fields` says; `source` is named.
    """
    # Numbers beyond float32 become inf, which an `Episode` refuses.
    with np.errstate(over="ignore", invalid="ignore"):
        translation = stored[:, :3] * np.float32(fields.metres / METRES_PER_ACTION)
    rotation = _rotation_vector(stored[:, 3:6] * fields.radians, fields) / RADIANS_PER_ACTION
    gripper = _gripper(stored[:, 6:], source, fields)
    return np.concatenate([translation, rotation, gripper], axis=1).astype(np.float32)


def _gripper(
    stored: Float32[np.ndarray, "n 1"], source: str, fields: RldsFields
) -> Float32[np.ndarray, "n 1"]:
    if fields.gripper == "opening":
        allowed, expected = (stored >= 0) & (stored <= 1), "0 (closed) to 1 (open)"
    else:
        # A data set whose gripper is 0 or 1 would pass for one that never opens.
        allowed, expected = np.abs(stored) == 1, "-1 (open) or +1 (closed)"
    if not allowed.all():
        step = int(np.flatnonzero(~allowed)[0])
        raise ValueError(
            f"{source}: the gripper's action must be {expected}, got {stored[step, 0]} "
            f"at step {step}"
        )
    return 1 - 2 * stored if fields.gripper == "opening" else stored


def convert_state(
    stored: Float32[np.ndarray, "n k"], fields: RldsFields
) -> Float32[np.ndarray, "n 8"]:
    """Position (m), rotation vector (rad) and both fingers."""
    fingers = stored[:, 6:]
    if fingers.shape[1] == 1:
        fingers = np.concatenate([fingers, -fingers], axis=1)
    rotation = _rotation_vector(stored[:, 3:6], fields)
    return np.concatenate([stored[:, :3], rotation, fingers], axis=1).astype(np.float32)


def _rotation_vector(
    angles: Float32[np.ndarray, "n 3"], fields: RldsFields
) -> Float32[np.ndarray, "n 3"]:
    if fields.rotation == "axis_angle":
        return angles
    return Rotation.from_euler("xyz", angles).as_rotvec().astype(np.float32)
