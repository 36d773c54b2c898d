"""Reconstruction error in numbers that mean something to a robot.

Axes: M chunks · T steps · A = 7 action dims: translation 3, rotation 3, gripper 1.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rfsq_jax.data.episodes import METRES_PER_ACTION, RADIANS_PER_ACTION
from rfsq_jax.data.normalization import Normalization

TRANSLATION, ROTATION, GRIPPER = slice(0, 3), slice(3, 6), slice(6, 7)


def reconstruction_errors(
    actions: Float[np.ndarray, "m t 7"],
    decoded: Float[np.ndarray, "m t 7"],
    normalization: Normalization,
) -> dict[str, float]:
    """Compares actions with what came back, both in robot units.

    Returns:
      `mse` and `max_error` in normalised units; `translation_mm` and `rotation_deg`, the mean
      length of the error per step; `gripper_flips`, the share of steps whose gripper sign changed.
    """
    difference = decoded.astype(np.float64) - actions
    normalized = difference * (2.0 / (normalization.high - normalization.low))
    translation = np.linalg.norm(difference[..., TRANSLATION], axis=-1)
    rotation = np.linalg.norm(difference[..., ROTATION], axis=-1)
    flips = np.sign(decoded[..., GRIPPER]) != np.sign(actions[..., GRIPPER])
    return {
        "mse": float(np.mean(normalized**2)),
        "max_error": float(np.abs(normalized).max()),
        "translation_mm": float(translation.mean() * METRES_PER_ACTION * 1000),
        "rotation_deg": float(np.degrees(rotation.mean() * RADIANS_PER_ACTION)),
        "gripper_flips": float(flips.mean()),
    }
