"""The phases of picking and placing, and what a phase asks of the hand."""

from __future__ import annotations

import dataclasses
import enum

import numpy as np
from jaxtyping import Float64

OPEN, CLOSE = -1.0, 1.0


class Phase(enum.Enum):
    """What the hand is doing, in order."""

    REACH = enum.auto()
    DESCEND = enum.auto()
    CLOSE = enum.auto()
    LIFT = enum.auto()
    CARRY = enum.auto()
    LOWER = enum.auto()
    RELEASE = enum.auto()
    RETREAT = enum.auto()
    DONE = enum.auto()


FOLLOWING = dict(zip(list(Phase)[:-1], list(Phase)[1:], strict=True))
"""The phase after each but the last."""


@dataclasses.dataclass(frozen=True, eq=False)
class Aim:
    """Where the hand should go now.

    Attributes:
      point: float64 [3], metres.
      gripper: -1 open, +1 close.
      arrived: whether the phase is over.
      speed: fraction of the style's top speed.
    """

    point: Float64[np.ndarray, " 3"]
    gripper: float
    arrived: bool
    speed: float = 1.0


def tilt_in(
    phase: Phase, tilts: tuple[tuple[float, float, float], ...]
) -> Float64[np.ndarray, " 3"]:
    """Returns how the hand is tilted in a phase, given a style's three: a rotation vector [3]."""
    if phase in (Phase.REACH, Phase.RETREAT, Phase.DONE):
        return np.array(tilts[0])
    if phase in (Phase.DESCEND, Phase.CLOSE, Phase.LIFT):
        return 0.35 * np.array(tilts[1])
    return np.array(tilts[2])
