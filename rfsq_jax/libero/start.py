"""Where an episode begins. Needs no simulator.

Axes: S flattened simulator state (time, positions, velocities) · F fixtures.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float64


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """Where an episode begins, before it settles.

    Attributes:
      state: float64 [S], flattened simulator state.
      fixtures: float64 [F, 7], position (m) and quaternion (w, x, y, z) of the task's fixtures,
        which the simulator state does not hold.
      seed: what it was sampled with, or the index of the official initial state.
    """

    state: Float64[np.ndarray, " s"]
    fixtures: Float64[np.ndarray, "f 7"]
    seed: int
