"""Reconstruction error in numbers that mean something to a robot.

Axes: M chunks · T steps · A action dims · G gripper dims.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

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
    return pooled(chunk_errors(actions, decoded, space))


def pooled(errors: Mapping[str, Float[np.ndarray, " m"]]) -> dict[str, float]:
    """Returns the figures of all chunks together: the greatest `max_error`, else the mean."""
    return {
        name: float(values.max() if name == "max_error" else values.mean())
        for name, values in errors.items()
    }


def chunk_errors(
    actions: Float[np.ndarray, "m t a"],
    decoded: Float[np.ndarray, "m t a"],
    space: ActionSpace,
) -> dict[str, Float[np.ndarray, " m"]]:
    """Returns the figures of `reconstruction_errors` for each chunk."""
    difference = decoded.astype(np.float64) - actions
    low, high = space.normalization.low, space.normalization.high
    normalized = difference * (2.0 / (high - low))
    errors = {
        "mse": np.mean(normalized**2, axis=(1, 2)),
        "max_error": np.abs(normalized).max(axis=(1, 2)),
    }
    for kind in space.spec.kinds:
        if kind == "gripper":
            flips = _flips(actions, decoded, space.spec)
            errors["gripper_flips"] = flips.mean(axis=(1, 2))
        else:
            name, unit = UNITS[kind]
            errors[name] = _mean_error(difference, space.spec, kind) * unit
    return errors


def _flips(
    actions: Float[np.ndarray, "*n a"], decoded: Float[np.ndarray, "*n a"], spec: ActionSpec
) -> Bool[np.ndarray, "*n g"]:
    """Which gripper commands came back as the other one."""
    flips = []
    for group, place in spec.slices("gripper"):
        middle = np.mean(group.commands)
        flips.append((decoded[..., place] > middle) != (actions[..., place] > middle))
    return np.concatenate(flips, axis=-1)


def _mean_error(
    difference: Float[np.ndarray, "m t a"], spec: ActionSpec, kind: DimKind
) -> Float[np.ndarray, " m"]:
    parts = []
    for group, place in spec.slices(kind):
        error = difference[..., place]
        whole = kind in ("translation", "rotation")
        size = np.linalg.norm(error, axis=-1) if whole else np.abs(error).mean(axis=-1)
        parts.append(size.mean(axis=1) * group.unit)
    return np.mean(parts, axis=0)
