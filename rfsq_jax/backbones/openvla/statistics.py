"""A checkpoint's dataset statistics: states to normalised ones, normalised actions back.

Axes: N samples · T steps · A action dims, the gripper last · D state dims.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from rfsq_jax.runs.checks import require

FILE = "dataset_statistics.json"
EPSILON = 1e-8


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
    try:
        names = [name for name in (key, f"{key}_no_noops") if name in sets]
        require(bool(names), "key", f"one of {', '.join(sets)}", key)
        return _parse(sets[names[0]])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no table of statistics: {error!r}") from error


def data_sets(folder: Path) -> tuple[str, ...]:
    """The data sets that a checkpoint has statistics of.

    Raises:
      ValueError: if the file is missing or damaged.
    """
    return tuple(_read_sets(folder / FILE))


def _read_sets(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    try:
        sets = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(sets, dict):
        raise ValueError(f"{path} is no table of statistics: {type(sets).__name__}")
    return sets


def _parse(entry: dict[str, Any]) -> Statistics:
    action = entry["action"]
    low, high = np.array(action["q01"], np.float64), np.array(action["q99"], np.float64)
    mask = np.array(action.get("mask", [True] * (len(low) - 1) + [False]), bool)
    require(low.shape == high.shape == mask.shape, "q01, q99, mask", "as long as each other", low)
    state = entry.get("proprio", {"q01": [0.0], "q99": [0.0]})
    state_low, state_high = (np.array(state[name], np.float64) for name in ("q01", "q99"))
    # Checkpoints trained without the state have zeros.
    if not (state_low.any() or state_high.any()):
        return Statistics(low, high, mask, None, None)
    return Statistics(low, high, mask, state_low, state_high)
