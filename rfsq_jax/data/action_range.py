"""The range of actions that a tokenizer was fitted on, and what is said of those that leave it.

Axes: B chunks · T steps of a chunk · A action dims.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from rfsq_jax.runs.checks import require, require_choice

Check = Literal["warn", "raise", "clip"]
"""What is done with actions beyond the range: said once, refused, or moved to its ends."""

ROUNDING = 2.0**-22
"""Two units in the last place of float32: values nearer than that to the range are inside."""

NAMED = 8
"""Dims that a message names; the others are counted."""


class OutOfRangeWarning(UserWarning):
    """Actions leave the range that a tokenizer was fitted on, so what decodes may differ much."""


@dataclasses.dataclass(frozen=True, eq=False)
class ActionRange:
    """The least and the greatest value of each dim.

    Attributes:
      low: float32 [A], robot units.
      high: float32 [A].
    """

    low: Float[np.ndarray, " a"]
    high: Float[np.ndarray, " a"]

    def __post_init__(self) -> None:
        require_ordered("range", self.low, self.high)

    @classmethod
    def fit(cls, chunks: Float[np.ndarray, "b t a"]) -> ActionRange:
        """Measures finite chunks."""
        low, high = chunks.min(axis=(0, 1)), chunks.max(axis=(0, 1))
        return cls(low.astype(np.float32), high.astype(np.float32))

    def clip(self, chunks: Float[np.ndarray, "b t a"]) -> Float[np.ndarray, "b t a"]:
        """Moves what leaves the range to its ends."""
        return np.clip(chunks, self.low, self.high)

    def outside(self, chunks: Float[np.ndarray, "b t a"]) -> Bool[np.ndarray, "b t a"]:
        """Which values leave the range by more than rounding."""
        slack = ROUNDING * np.maximum(np.abs(self.low), np.abs(self.high))
        return (chunks < self.low - slack) | (chunks > self.high + slack)

    def describe_outside(
        self, chunks: Float[np.ndarray, "b t a"], names: Sequence[str]
    ) -> str | None:
        """Says which dims leave the range, how far, and in how many chunks; None where none does.

        Args:
          chunks: in robot units.
          names: of the A dims.
        """
        outside = self.outside(chunks)
        dims = np.flatnonzero(outside.any(axis=(0, 1))).tolist()
        if not dims:
            return None
        found = [f"{names[dim]} {self._worst(chunks, dim)}" for dim in dims[:NAMED]]
        more = f" and {len(dims) - NAMED} more dims" if len(dims) > NAMED else ""
        count = np.count_nonzero(outside.any(axis=(1, 2)))
        return (
            f"actions must lie in the range that was fitted, got {', '.join(found)}{more}; "
            f"{count} of {len(chunks)} chunks leave it"
        )

    def _worst(self, chunks: Float[np.ndarray, "b t a"], dim: int) -> str:
        low, high = float(self.low[dim]), float(self.high[dim])
        least, most = float(chunks[..., dim].min()), float(chunks[..., dim].max())
        worst = least if low - least > most - high else most
        return f"{worst:.4g} (fitted {low:.4g} to {high:.4g})"


def apply_check(
    chunks: Float[np.ndarray, "b t a"],
    known: ActionRange | None,
    names: Sequence[str],
    check: Check,
) -> tuple[Float[np.ndarray, "b t a"], str | None]:
    """Returns the chunks to encode, and what is to be warned of.

    Args:
      chunks: in robot units.
      known: the range that was fitted; None if nobody knows it.
      names: of the A dims.
      check: "warn", "raise" or "clip".

    Raises:
      ValueError: for an unknown check; for chunks out of range with "raise"; for "raise" or "clip"
        without a range.
    """
    require_choice(check, Check, "check")
    if known is None:
        wanted = "'warn' where the range is not known (fit the tokenizer again)"
        require(check == "warn", "check", wanted, check)
        return chunks, None
    if check == "clip":
        return known.clip(chunks), None
    found = known.describe_outside(chunks, names)
    if found is not None and check == "raise":
        raise ValueError(found)
    return chunks, found


def require_ordered(
    name: str, low: Float[np.ndarray, "..."], high: Float[np.ndarray, "..."]
) -> None:
    """Raises a ValueError unless both are finite vectors of one length, low at most high."""
    fits = low.ndim == 1 and low.shape == high.shape and len(low) > 0
    require(fits, name, "low and high of one length", (low.shape, high.shape))
    finite = np.isfinite(low).all() and np.isfinite(high).all()
    require(bool(finite), name, "finite", (low.tolist(), high.tolist()))
    ordered = bool((low <= high).all())
    require(ordered, name, "low at most high in every dim", (low.tolist(), high.tolist()))
