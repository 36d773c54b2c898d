"""The one episode type that every reader converts to.

Axes: N steps of an episode · A action dims · H, W image height and width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, UInt8

ACTION_DIM = 7
STATE_DIM = 8
METRES_PER_ACTION = 0.05
RADIANS_PER_ACTION = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Episode:
    """One demonstration in LIBERO's environment convention.

    Attributes:
      actions: float32 [N, A]; translation (1.0 = 0.05 m per step), rotation vector (1.0 = 0.5 rad
        per step), gripper (-1 open, +1 close).
      state: float32 [N, 8] before each action: end-effector position (m), axis-angle (rad),
        the two finger positions (m).
      instruction: what the demonstration does, in words.
      source: where it comes from, for messages and splits.
      images: uint8 [N, H, W, 3] by camera name, upright, if the source has them.
    """

    actions: Float[np.ndarray, "n a"]
    state: Float[np.ndarray, "n 8"]
    instruction: str
    source: str
    images: Mapping[str, UInt8[np.ndarray, "n h w 3"]] | None = None

    def __post_init__(self) -> None:
        _check_steps("actions", self.actions, self.source, width=None)
        _check_steps("state", self.state, self.source, width=STATE_DIM)
        if len(self.actions) != len(self.state):
            raise ValueError(
                f"{self.source}: actions and state must have the same number of steps, "
                f"got {len(self.actions)} and {len(self.state)}"
            )

    def __len__(self) -> int:
        return len(self.actions)


def _check_steps(field: str, values: np.ndarray, source: str, width: int | None) -> None:
    if values.ndim != 2 or (width is not None and values.shape[1] != width):
        expected = f"[N, {width or 'A'}]"
        raise ValueError(f"{source}: {field} must have shape {expected}, got {values.shape}")
    if not np.isfinite(values).all():
        step = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise ValueError(f"{source}: {field} must be finite, got NaN or inf at step {step}")
