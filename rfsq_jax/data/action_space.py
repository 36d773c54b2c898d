"""What a chunk of actions is: how many steps, what its dims mean, how they are normalised.

Axes: B chunks · T steps of a chunk (horizon) · A action dims.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from rfsq_jax.data.action_spec import ActionSpec
from rfsq_jax.runs.checks import require, require_positive

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


@dataclasses.dataclass(frozen=True, eq=False)
class ActionSpace:
    """The border between a robot's actions and everything that is learned.

    Attributes:
      horizon: steps T of a chunk.
      normalization: robot units <-> normalised.
      spec: what the dims mean; by default `ActionSpec.default`.
    """

    horizon: int
    normalization: Normalization
    spec: ActionSpec

    def __post_init__(self) -> None:
        require_positive(self, "horizon")
        wanted, got = self.spec.action_dim, self.normalization.action_dim
        require(wanted == got, "normalization", f"of the spec's {wanted} dims", got)

    @classmethod
    def fit(cls, actions: Any, spec: ActionSpec | None = None) -> ActionSpace:
        """Measures the normalisation of chunks float [B, T, A] in robot units.

        Raises:
          TypeError, ValueError: see `check_chunks`; also if `spec` has another number of dims.
        """
        chunks, _ = check_chunks(actions)
        horizon, action_dim = chunks.shape[1:]
        spec = ActionSpec.default(action_dim) if spec is None else spec
        return cls(horizon, Normalization.fit(chunks, spec), spec)

    @property
    def action_dim(self) -> int:
        """A."""
        return self.spec.action_dim

    def check(self, actions: Any) -> tuple[Float[np.ndarray, "b t a"], bool]:
        """Returns float32 chunks [B, T, A] and whether a single [T, A] chunk was given.

        Raises:
          TypeError, ValueError: see `check_chunks`.
        """
        return check_chunks(actions, (self.horizon, self.action_dim))

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "horizon": self.horizon,
            "normalization": self.normalization.to_dict(),
            "action_spec": self.spec.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ActionSpace:
        """The inverse of `to_dict`; files of the first format say nothing of the dims' meaning."""
        normalization = Normalization.from_dict(values["normalization"])
        stored = values.get("action_spec")
        default = ActionSpec.default(normalization.action_dim)
        spec = default if stored is None else ActionSpec.from_dict(stored)
        return cls(values["horizon"], normalization, spec)


def check_chunks(
    actions: Any, shape: tuple[int, int] | None = None
) -> tuple[Float[np.ndarray, "b t a"], bool]:
    """Returns float32 chunks [B, T, A] and whether a single [T, A] chunk was given.

    Args:
      actions: float [B, T, A] or [T, A].
      shape: the (T, A) that is expected; any where None.

    Raises:
      TypeError: if the actions are not real numbers.
      ValueError: on another shape, no chunks, or NaN or inf.
    """
    values = np.asarray(actions)
    if not np.issubdtype(values.dtype, np.floating):
        raise TypeError(f"actions must be floating point, got {values.dtype}")
    expected = (
        "[B, T, A] or [T, A]"
        if shape is None
        else f"[B, {shape[0]}, {shape[1]}] or [{shape[0]}, {shape[1]}]"
    )
    if values.ndim not in (2, 3) or (shape is not None and values.shape[-2:] != shape):
        raise ValueError(f"actions must have shape {expected}, got {values.shape}")
    if values.size == 0:
        raise ValueError(f"actions must hold at least one value, got shape {values.shape}")
    if not np.isfinite(values).all():
        count = int(np.count_nonzero(~np.isfinite(values)))
        raise ValueError(f"actions must be finite, got {count} NaN or inf of {values.size} values")
    single = values.ndim == 2
    return values.astype(np.float32)[None] if single else values.astype(np.float32), single
