"""Rotations in the benchmark's convention."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64


def axis_angle_from_quaternion(quaternion: Float64[np.ndarray, " 4"]) -> Float64[np.ndarray, " 3"]:
    """Turns (x, y, z, w) into a rotation vector of angle 0..2 pi, as published data has it."""
    w = min(max(float(quaternion[3]), -1.0), 1.0)
    sine = math.sqrt(1.0 - w * w)
    if math.isclose(sine, 0.0):
        return np.zeros(3)
    return quaternion[:3] * 2.0 * math.acos(w) / sine
