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
from rfsq_jax.data.normalization import Normalization
from rfsq_jax.runs.checks import require, require_positive


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
