"""Robot units <-> normalised units, by dataset statistics.

Axes: N steps · A action dims (the last one the gripper).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

QUANTILES = (0.01, 0.99)


@dataclasses.dataclass(frozen=True, eq=False)
class Normalization:
    """An affine map per dim: [low, high] <-> [-1, 1]; nothing is clipped.

    Attributes:
      low: float32 [A], the 1 % quantile of each dim; -1 for the gripper.
      high: float32 [A], the 99 % quantile; +1 for the gripper, which is so left as it is.
    """

    low: Float[np.ndarray, " a"]
    high: Float[np.ndarray, " a"]

    def __post_init__(self) -> None:
        if self.low.shape != self.high.shape or not (self.low < self.high).all():
            raise ValueError(f"low must be below high in every dim, got {self.low} and {self.high}")

    @classmethod
    def fit(cls, actions: Float[np.ndarray, "*n a"]) -> Normalization:
        """Measures the quantiles of actions [..., A]; a constant dim keeps its units."""
        if actions.size == 0 or not np.isfinite(actions).all():
            raise ValueError(f"actions must be finite and not empty, got shape {actions.shape}")
        flat = actions.reshape(-1, actions.shape[-1])
        low, high = np.quantile(flat, QUANTILES, axis=0).astype(np.float32)
        constant = high - low < 1e-6
        low, high = np.where(constant, low - 1, low), np.where(constant, high + 1, high)
        low[-1], high[-1] = -1.0, 1.0
        return cls(low.astype(np.float32), high.astype(np.float32))

    @property
    def action_dim(self) -> int:
        """How many dims an action has."""
        return len(self.low)

    def normalize(self, actions: Float[np.ndarray, "*n a"]) -> Float[np.ndarray, "*n a"]:
        """Robot units -> normalised float32."""
        values = (actions - self.low) * (2.0 / (self.high - self.low)) - 1.0
        return values.astype(np.float32)

    def denormalize(self, values: Float[np.ndarray, "*n a"]) -> Float[np.ndarray, "*n a"]:
        """Normalised -> robot units float32."""
        actions = (values + 1.0) * ((self.high - self.low) * 0.5) + self.low
        return actions.astype(np.float32)

    def to_dict(self) -> dict[str, list[float]]:
        """As plain lists, for JSON."""
        return {"low": self.low.tolist(), "high": self.high.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Normalization:
        """The inverse of `to_dict`."""
        return cls(np.asarray(values["low"], np.float32), np.asarray(values["high"], np.float32))
