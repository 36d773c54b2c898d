"""Reconstruction error in numbers that mean something to a robot.

Axes: M chunks · T steps · A action dims.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.data.action_spec import ActionSpec, DimKind

UNITS: dict[DimKind, tuple[str, float]] = {
    "translation": ("translation_mm", 1000.0),
    "rotation": ("rotation_deg", 180.0 / math.pi),
    "joint": ("joint_deg", 180.0 / math.pi),
    "other": ("other_error", 1.0),
}
"""What a kind's error is called, and how many of these units are in one metre or radian."""


def reconstruction_errors(
    actions: Float[np.ndarray, "m t a"],
    decoded: Float[np.ndarray, "m t a"],
    space: ActionSpace,
) -> dict[str, float]:
    """Compares actions with what came back, both in robot units.

    Returns:
      `mse` and `max_error` in normalised units, over all dims; and of the kinds that occur:
      `translation_mm`, `rotation_deg`, the mean length of the error per step; `joint_deg`,
      `other_error` (robot units), the mean error per dim; `gripper_flips`, the share of commands
      that came back as the other one.
    """
    difference = decoded.astype(np.float64) - actions
    low, high = space.normalization.low, space.normalization.high
    normalized = difference * (2.0 / (high - low))
    errors = {"mse": float(np.mean(normalized**2)), "max_error": float(np.abs(normalized).max())}
    for kind in space.spec.kinds:
        if kind == "gripper":
            errors["gripper_flips"] = gripper_flips(actions, decoded, space.spec)
        else:
            name, unit = UNITS[kind]
            errors[name] = _mean_error(difference, space.spec, kind) * unit
    return errors


def gripper_flips(
    actions: Float[np.ndarray, "*n a"], decoded: Float[np.ndarray, "*n a"], spec: ActionSpec
) -> float:
    """The share of gripper commands that came back as the other one."""
    flips = []
    for group, place in spec.slices("gripper"):
        middle = np.mean(group.commands)
        flips.append((decoded[..., place] > middle) != (actions[..., place] > middle))
    return float(np.mean(np.concatenate(flips, axis=-1)))


def _mean_error(difference: Float[np.ndarray, "m t a"], spec: ActionSpec, kind: DimKind) -> float:
    parts = []
    for group, place in spec.slices(kind):
        error = difference[..., place]
        whole = kind in ("translation", "rotation")
        size = np.linalg.norm(error, axis=-1) if whole else np.abs(error)
        parts.append(float(size.mean() * group.unit))
    return float(np.mean(parts))
