"""A checkpoint's dataset statistics: states to normalised ones, normalised actions back.

Axes: N samples · T steps · A action dims, the gripper last · D state dims.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from rfsq_jax.runs.checks import require
from rfsq_jax.runs.json_files import read_json

FILE = "dataset_statistics.json"
EPSILON = 1e-8
MAX_DIMS = 1024
MOST = 1e30
"""In metres or radians, far beyond any; what is computed with it stays finite in float32."""


@dataclasses.dataclass(frozen=True, eq=False)
class Statistics:
    """The 1 % and 99 % quantiles of a data set.

    Attributes:
      low, high: of the actions' dims.
      mask: which dims are normalised; the gripper is not.
      state_low, state_high: of the state's dims; None where the checkpoint was trained without.
    """

    low: Float[np.ndarray, " a"]
    high: Float[np.ndarray, " a"]
    mask: Bool[np.ndarray, " a"]
    state_low: Float[np.ndarray, " d"] | None
    state_high: Float[np.ndarray, " d"] | None

    def restore(
        self, actions: Float[np.ndarray, "*n a"], epsilon: float = 0.0
    ) -> Float[np.ndarray, "*n a"]:
        """Normalised actions -> robot units; OFT's were made with `EPSILON`, the base's without."""
        restored = 0.5 * (actions + 1) * (self.high - self.low + epsilon) + self.low
        return np.where(self.mask, restored, actions)

    @property
    def state_range(self) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
        """The quantiles of the state.

        Raises:
          ValueError: if the checkpoint has none.
        """
        if self.state_low is None or self.state_high is None:
            raise ValueError(f"{FILE} has no statistics of the state that this model takes")
        return self.state_low, self.state_high

    def normalize_state(self, state: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n d"]:
        """States -> [-1, 1], clipped.

        Raises:
          ValueError: if the checkpoint has no statistics of the state.
        """
        low, high = self.state_range
        return np.clip(2 * (state - low) / (high - low + EPSILON) - 1, -1, 1)


def read_statistics(folder: Path, key: str) -> Statistics:
    """Reads those of a data set, named by `key`, or `key` with "_no_noops".

    Raises:
      ValueError: if the file is missing or damaged, or has no such data set; it lists them.
    """
    path = folder / FILE
    sets = _read_sets(path)
    names = [name for name in (key, f"{key}_no_noops") if name in sets]
    require(bool(names), "key", f"one of {', '.join(sets)}", key)
    try:
        return _parse(sets[names[0]])
    except ValueError as error:
        raise ValueError(f"{path}: {names[0]}: {error}") from error


def data_sets(folder: Path) -> tuple[str, ...]:
    """The data sets that a checkpoint has statistics of.

    Raises:
      ValueError: if the file is missing or damaged.
    """
    return tuple(_read_sets(folder / FILE))


def _read_sets(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    sets = read_json(path)
    if not isinstance(sets, dict):
        raise ValueError(f"{path} is no table of statistics: {type(sets).__name__}")
    return sets


def _parse(entry: Any) -> Statistics:
    low, high = _range(entry, "action")
    mask = entry["action"].get("mask", [True] * (len(low) - 1) + [False])
    if (
        not isinstance(mask, list)
        or len(mask) != len(low)
        or any(type(each) is not bool for each in mask)
    ):
        raise ValueError(f"action.mask must be {len(low)} booleans, got {mask!r:.80}")
    state_low = state_high = None
    if "proprio" in entry:
        state_low, state_high = _range(entry, "proprio")
    # Checkpoints trained without the state have zeros, or nothing.
    if state_low is not None and not (np.any(state_low) or np.any(state_high)):
        state_low = state_high = None
    return Statistics(low, high, np.array(mask, bool), state_low, state_high)


def _range(entry: Any, part: str) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The 1 % and 99 % quantiles of the actions or the state."""
    table = entry.get(part) if isinstance(entry, dict) else None
    if not isinstance(table, dict):
        raise ValueError(f"{part} must be a table of statistics, got {table!r:.80}")
    low, high = (_numbers(table, part, name) for name in ("q01", "q99"))
    fits = len(low) == len(high) and bool((low <= high).all())
    require(fits, f"{part}.q99", "as long as q01, and nowhere below it", high.tolist())
    return low, high


def _numbers(table: dict[str, Any], part: str, name: str) -> Float[np.ndarray, " n"]:
    values = table.get(name)
    if (
        not isinstance(values, list)
        or not 0 < len(values) <= MAX_DIMS
        or not all(type(each) in (int, float) and abs(each) < MOST for each in values)
    ):
        raise ValueError(f"{part}.{name} must be 1 to {MAX_DIMS} numbers, got {values!r:.80}")
    return np.array(values, np.float64)
