"""Figures that describe a set of demonstrations, and the published ones to set them beside.

Axes: N steps of all episodes · A = 7 action dims.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

DIMENSIONS = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
STATISTICS = ("mean", "std", "min", "max", "q01", "q99")


def action_statistics(actions: Float[np.ndarray, "n 7"]) -> dict[str, list[float]]:
    """Returns mean, std, min, max, q01, q99 per dimension, gripper as published: 0 closed, 1 open.

    Args:
      actions: [N, 7] in the environment's convention, gripper -1 open and +1 close.
    """
    values = actions.astype(np.float64)
    values[:, 6] = (1 - values[:, 6]) / 2
    low, high = np.quantile(values, [0.01, 0.99], axis=0)
    rows = (values.mean(0), values.std(0), values.min(0), values.max(0), low, high)
    return {name: row.tolist() for name, row in zip(STATISTICS, rows, strict=True)}


def published_statistics(suite: str) -> dict[str, Any] | None:
    """Returns the published statistics of `suite` in the same form, or None if there are none."""
    text = (importlib.resources.files("rfsq_jax.data") / "published.json").read_text()
    return json.loads(text)["suites"].get(suite)


def comparison_table(ours: dict[str, list[float]], published: dict[str, Any] | None) -> str:
    """Formats both statistics side by side, one line per dimension: ours / published."""
    lines = ["dim      " + "".join(f"{name:>18}" for name in STATISTICS)]
    for index, dimension in enumerate(DIMENSIONS):
        cells = [_pair(ours[name][index], published, name, index) for name in STATISTICS]
        lines.append(f"{dimension:<9}" + "".join(f"{cell:>18}" for cell in cells))
    return "\n".join(lines)


def length_figures(lengths: Sequence[int]) -> dict[str, int | float]:
    """Returns the least, mean and greatest number of steps."""
    return {"min": min(lengths), "mean": sum(lengths) / len(lengths), "max": max(lengths)}


def _pair(value: float, published: dict[str, Any] | None, name: str, index: int) -> str:
    other = "-" if published is None else f"{published[name][index]:.3f}"
    return f"{value:.3f} / {other}"
