"""Chunks as coefficients: normalised, and an orthonormal cosine transform over time.

Grippers of two commands are kept apart: which of the two each step holds. One that also stops
between them, as recorded openings do, moves like any other dim.

Axes: B chunks · T steps of a chunk = frequencies · A action dims · M dims that move · P grippers.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from jaxtyping import Bool, Float, Int

from rfsq_jax.data.action_space import ActionSpace

BETWEEN = 1e-4
"""Mean squared distance from the nearer command, normalised, from which on a gripper moves."""


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """A chunk in two parts.

    Attributes:
      coefficients: float32 [B, T, M], lowest frequency first.
      grippers: [B, T, P], whether the higher command is given.
    """

    coefficients: Float[np.ndarray, "b t m"]
    grippers: Bool[np.ndarray, "b t p"]

    def spread(self, most: int) -> Parts:
        """At most so many of the chunks, spread over all."""
        count = len(self.coefficients)
        rows = np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
        return Parts(self.coefficients[rows], self.grippers[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class Coefficients:
    """The map between actions in robot units and their parts.

    Attributes:
      space: horizon, meaning of the dims, normalisation, range.
      moving_grippers: gripper dims that are no switches.
    """

    space: ActionSpace
    moving_grippers: tuple[int, ...] = ()

    @classmethod
    def fit(cls, space: ActionSpace, chunks: Float[np.ndarray, "b t a"]) -> Coefficients:
        """Finds out which grippers move."""
        dims = cls(space).gripper_dims
        values = space.normalization.normalize(chunks)[..., dims].astype(np.float64)
        off = np.square(np.abs(values) - 1.0).mean(axis=(0, 1))
        return cls(space, tuple(dims[off > BETWEEN].tolist()))

    @functools.cached_property
    def gripper_dims(self) -> Int[np.ndarray, " p"]:
        """Which dims are grippers of two commands."""
        dims = np.arange(self.space.action_dim)[self.space.spec.dims("gripper")]
        return np.setdiff1d(dims, np.array(self.moving_grippers, dims.dtype))

    @functools.cached_property
    def moving_dims(self) -> Int[np.ndarray, " m"]:
        """All the others."""
        return np.setdiff1d(np.arange(self.space.action_dim), self.gripper_dims)

    def split(self, chunks: Float[np.ndarray, "b t a"]) -> Parts:
        """Actions in robot units -> parts."""
        import scipy.fft

        values = self.space.normalization.normalize(chunks)
        moving = values[..., self.moving_dims].astype(np.float64)
        # Each column is transformed on its own, so a chunk's coefficients are those of any batch.
        spectrum = np.asarray(scipy.fft.dct(moving, axis=1, norm="ortho"))
        return Parts(spectrum.astype(np.float32), values[..., self.gripper_dims] > 0)

    def join(self, parts: Parts) -> Float[np.ndarray, "b t a"]:
        """Parts -> actions float32 in robot units, within the widened range."""
        import scipy.fft

        shape = (*parts.coefficients.shape[:2], self.space.action_dim)
        values = np.empty(shape, np.float64)
        spectrum = parts.coefficients.astype(np.float64)
        moving: np.ndarray = np.asarray(scipy.fft.idct(spectrum, axis=1, norm="ortho"))
        values[..., self.moving_dims] = moving
        values[..., self.gripper_dims] = np.where(parts.grippers, 1.0, -1.0)
        actions = self.space.normalization.denormalize(values)
        return actions if self.bounds is None else np.clip(actions, *self.bounds)

    @functools.cached_property
    def bounds(self) -> tuple[Float[np.ndarray, " a"], Float[np.ndarray, " a"]] | None:
        """The least and the greatest action that decodes: the fitted range, and a margin as wide.

        Or as far as its farther end is from 0, where that is more, so that actions twice as large
        as all that were fitted still decode. None where the range is not known.
        """
        if self.space.range is None:
            return None
        low, high = self.space.range.low, self.space.range.high
        margin = np.maximum(high - low, np.maximum(np.abs(low), np.abs(high)))
        margin[self.gripper_dims] = 0.0
        return low - margin, high + margin
