"""What a chunk of actions is: how many steps, what its dims mean, how they are normalised.

Axes: B chunks · T steps of a chunk (horizon) · A action dims.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from rfsq_jax.data.action_range import ActionRange, require_ordered
from rfsq_jax.data.action_spec import ActionSpec
from rfsq_jax.runs.array_checks import as_floats
from rfsq_jax.runs.checks import MAX_SIZE, require, require_int, require_range
from rfsq_jax.runs.records import parse_record

QUANTILES = (0.01, 0.99)


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Two values per dim, as files keep them."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        low, high = len(self.low), len(self.high)
        require(low == high > 0, "low and high", "of one length", (low, high))

    @classmethod
    def of(cls, bounds: Normalization | ActionRange) -> Bounds:
        """Of arrays [A]."""
        return cls(tuple(bounds.low.tolist()), tuple(bounds.high.tolist()))

    @property
    def arrays(self) -> dict[str, Float[np.ndarray, " a"]]:
        """As float32 [A] by name; what float32 does not reach is inf."""
        with np.errstate(over="ignore"):
            return {"low": np.array(self.low, np.float32), "high": np.array(self.high, np.float32)}


@dataclasses.dataclass(frozen=True)
class ActionSpaceRecord:
    """An action space as files keep it; those of the first format say nothing of dims or range."""

    horizon: int
    normalization: Bounds
    action_spec: ActionSpec | None = None
    range: Bounds | None = None


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
        require_ordered("normalization", self.low, self.high)
        with np.errstate(over="ignore", divide="ignore"):
            width = self.high - self.low
            fits = (width > 0) & np.isfinite(width) & np.isfinite(2 / width)
        if not fits.all():
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
        """Robot units -> normalised float32; inf where they are beyond float32."""
        with np.errstate(over="ignore"):
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
    def from_dict(cls, values: Mapping[str, Any], where: str = "normalization") -> Normalization:
        """The inverse of `to_dict`.

        Raises:
          ValueError: if a key is missing or of another type, which is said of `where`; or if low is
            not below high.
        """
        return cls(**parse_record(Bounds, dict(values), where).arrays)


@dataclasses.dataclass(frozen=True, eq=False)
class ActionSpace:
    """The border between a robot's actions and everything that is learned.

    Attributes:
      horizon: steps T of a chunk.
      normalization: robot units <-> normalised.
      spec: what the dims mean; by default `ActionSpec.default`.
      range: of the actions that it was fitted on; None of files written before ranges were kept:
        then nobody can tell what leaves it.
    """

    horizon: int
    normalization: Normalization
    spec: ActionSpec
    range: ActionRange | None = None

    def __post_init__(self) -> None:
        require_int(self.horizon, "horizon")
        require_range(self, 1, MAX_SIZE, "horizon")
        wanted = self.spec.action_dim
        for name in ("normalization", "range"):
            bounds = getattr(self, name)
            if bounds is not None:
                got = len(bounds.low)
                require(wanted == got, name, f"of the spec's {wanted} dims", got)

    @classmethod
    def fit(cls, actions: Any, spec: ActionSpec | None = None) -> ActionSpace:
        """Measures normalisation and range of chunks float [B, T, A] in robot units.

        Raises:
          TypeError, ValueError: see `check_chunks`; also if `spec` has another number of dims.
        """
        chunks, _ = check_chunks(actions)
        horizon, action_dim = chunks.shape[1:]
        spec = ActionSpec.default(action_dim) if spec is None else spec
        return cls(horizon, Normalization.fit(chunks, spec), spec, ActionRange.fit(chunks))

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

    def identity(self) -> dict[str, Any]:
        """What decides codes and actions, as JSON; the range does not."""
        return {
            "horizon": self.horizon,
            "normalization": self.normalization.to_dict(),
            "action_spec": self.spec.to_dict(),
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        known = {} if self.range is None else {"range": dataclasses.asdict(Bounds.of(self.range))}
        return {**self.identity(), **known}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "action space") -> ActionSpace:
        """The inverse of `to_dict`; other keys than its own are left alone.

        Raises:
          ValueError: if a key is missing or of another type, numbers are not finite, or lengths do
            not agree; it begins with `where`.
        """
        names = [field.name for field in dataclasses.fields(ActionSpaceRecord)]
        own = {name: values[name] for name in names if name in values}
        record = parse_record(ActionSpaceRecord, own, where)
        try:
            normalization = Normalization(**record.normalization.arrays)
            spec = record.action_spec or ActionSpec.default(normalization.action_dim)
            seen = None if record.range is None else ActionRange(**record.range.arrays)
            return cls(record.horizon, normalization, spec, seen)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error


def check_chunks(
    actions: Any, shape: tuple[int, int] | None = None
) -> tuple[Float[np.ndarray, "b t a"], bool]:
    """Returns float32 chunks [B, T, A] and whether a single [T, A] chunk was given.

    Args:
      actions: float [B, T, A] or [T, A].
      shape: the (T, A) that is expected; any where None.

    Raises:
      TypeError: if the actions are not floating point.
      ValueError: on another shape, no chunks, values masked, NaN or inf, or beyond float32.
    """
    values = as_floats(actions, "actions")
    expected = (
        "[B, T, A] or [T, A]"
        if shape is None
        else f"[B, {shape[0]}, {shape[1]}] or [{shape[0]}, {shape[1]}]"
    )
    if values.ndim not in (2, 3) or (shape is not None and values.shape[-2:] != shape):
        raise ValueError(f"actions must have shape {expected}, got {values.shape}")
    if values.size == 0:
        raise ValueError(f"actions must hold at least one value, got shape {values.shape}")
    single = values.ndim == 2
    return values[None] if single else values, single
