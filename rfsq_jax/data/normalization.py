"""Robot units <-> normalised units, by dataset statistics.

Axes: N steps · A action dims.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from rfsq_jax.data.action_spec import ActionSpec
from rfsq_jax.runs.checks import require

QUANTILES = (0.01, 0.99)


@dataclasses.dataclass(frozen=True, eq=False)
class Normalization:
    """An affine map per dim: [low, high] <-> [-1, 1]; nothing is clipped.

    Attributes:
      low: float32 [A], the 1 % quantile of each dim; for a gripper, its lower command.
      high: float32 [A], the 99 % quantile; for a gripper, its higher command.
    """

    low: Float[np.ndarray, " a"]
    high: Float[np.ndarray, " a"]

    def __post_init__(self) -> None:
        if self.low.shape != self.high.shape or not (self.low < self.high).all():
            raise ValueError(f"low must be below high in every dim, got {self.low} and {self.high}")

    @classmethod
    def fit(
        cls, actions: Float[np.ndarray, "*n a"], spec: ActionSpec | None = None
    ) -> Normalization:
        """Measures the quantiles of actions [..., A]; a constant dim keeps its units.

        Args:
          actions: in robot units.
          spec: tells grippers, whose two commands become -1 and +1; `ActionSpec.default` if None.

        Raises:
          ValueError: if the actions are none or not finite, or have not the spec's dims.
        """
        if actions.size == 0 or not np.isfinite(actions).all():
            raise ValueError(f"actions must be finite and not empty, got shape {actions.shape}")
        flat = actions.reshape(-1, actions.shape[-1])
        spec = ActionSpec.default(flat.shape[1]) if spec is None else spec
        wanted = f"[..., {spec.action_dim}], as their spec says"
        require(flat.shape[1] == spec.action_dim, "actions", wanted, actions.shape)
        low, high = np.quantile(flat, QUANTILES, axis=0).astype(np.float32)
        constant = high - low < 1e-6
        low, high = np.where(constant, low - 1, low), np.where(constant, high + 1, high)
        for group, place in spec.slices("gripper"):
            low[place], high[place] = group.commands
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
