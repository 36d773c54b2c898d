"""What a policy is shown: images, instructions and the robot's state, checked at the border.

Axes: B environments · C cameras · H, W image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from rfsq_jax.data.episodes import STATE_DIM
from rfsq_jax.runs.array_checks import is_masked
from rfsq_jax.runs.checks import require

MAX_INSTRUCTION = 512
"""Characters; LIBERO's longest instruction has 96."""


@dataclasses.dataclass(frozen=True, eq=False)
class Observations:
    """What a batch of environments shows; one environment is a batch of one.

    Attributes:
      images: uint8 [B, C, H, W, 3], upright, cameras in the order of
        `libero.environment.POLICY_CAMERAS`.
      instructions: B sentences.
      state: float32 [B, 8]: end-effector position (m), axis-angle (rad), the two finger positions
        (m).
    """

    images: UInt8[np.ndarray, "b c h w 3"]
    instructions: Sequence[str]
    state: Float[np.ndarray, "b 8"]

    def __len__(self) -> int:
        return len(self.instructions)

    @classmethod
    def stack(cls, parts: Sequence[Observations]) -> Observations:
        """Joins batches along B, in order."""
        return cls(
            images=np.concatenate([each.images for each in parts]),
            instructions=[words for each in parts for words in each.instructions],
            state=np.concatenate([each.state for each in parts]),
        )

    def check(self, cameras: int) -> None:
        """Raises unless a backbone that sees `cameras` cameras can take them.

        Raises:
          TypeError: for another dtype, or something that is no array or no list of sentences.
          ValueError: for another shape, an empty or too long instruction, or NaN in the state.
        """
        check_images(self.images, cameras)
        check_instructions(self.instructions, len(self.images))
        check_state(self.state, len(self.images))


def check_images(images: Any, cameras: int) -> None:
    """Raises unless `images` is uint8 [B, cameras, H, W, 3] with B > 0.

    Raises:
      TypeError: for another dtype, or something that is no array.
      ValueError: for another shape, or pixels masked.
    """
    dtype = getattr(images, "dtype", None)
    if dtype != np.uint8:
        raise TypeError(f"images must be a uint8 array, got {dtype or type(images).__name__}")
    require(not is_masked(images), "images", "whole", "masked pixels")
    shape = images.shape
    if len(shape) != 5 or shape[1] != cameras or shape[-1] != 3 or 0 in shape:
        raise ValueError(f"images must have shape [B, {cameras}, H, W, 3], got {shape}")


def check_instructions(instructions: Sequence[str], batch: int) -> None:
    """Raises unless there is one usable instruction for each of `batch` samples.

    Raises:
      TypeError: if it is one string, or something else than strings.
      ValueError: for another count, or an instruction that is empty or too long.
    """
    several = isinstance(instructions, Sequence) and not isinstance(instructions, str)
    if not several or not all(isinstance(each, str) for each in instructions):
        got = repr(instructions)[:80]
        raise TypeError(f"instructions must be a sequence of strings, one per sample, got {got}")
    if len(instructions) != batch:
        raise ValueError(f"instructions must be {batch}, one per sample, got {len(instructions)}")
    for index, each in enumerate(instructions):
        if not each.strip():
            raise ValueError(f"instruction {index} must not be empty, got {each!r}")
        if len(each) > MAX_INSTRUCTION:
            raise ValueError(
                f"instruction {index} must have at most {MAX_INSTRUCTION} characters, "
                f"got {len(each)}: {each[:40]!r}..."
            )


def check_state(state: Any, batch: int) -> None:
    """Raises unless `state` is a float [batch, 8] that is finite as float32.

    Raises:
      TypeError: if it holds no floats.
      ValueError: for another shape, values masked, or NaN, inf or what float32 does not reach.
    """
    dtype = getattr(state, "dtype", None)
    if dtype is None or not np.issubdtype(dtype, np.floating):
        raise TypeError(f"state must be a float array, got {dtype or type(state).__name__}")
    if state.shape != (batch, STATE_DIM):
        raise ValueError(f"state must have shape [{batch}, {STATE_DIM}], got {state.shape}")
    require(not is_masked(state), "state", "whole", "masked values")
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.asarray(state).astype(np.float32))
    bad = np.flatnonzero(~finite.all(axis=1))
    if len(bad):
        row = np.asarray(state)[bad[0]].tolist()
        raise ValueError(f"state must be finite as float32, got {row} in sample {bad[0]}")
