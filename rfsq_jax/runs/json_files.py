"""JSON files: written whole, read strictly."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from rfsq_jax.runs.checks import DamagedError
from rfsq_jax.runs.files import atomic_path, read_bounded

MAX_BYTES = 100_000_000
"""No JSON file of ours comes near; a larger one is not read into memory."""


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON; numpy scalars and arrays become numbers and lists."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(plain(value), indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
      FileNotFoundError: if there is none.
      DamagedError: if it is no JSON in UTF-8, too large or too deep, repeats a key, or has a number
        that is not finite; the file is named.
    """
    return parse_json(read_bounded(path, MAX_BYTES), str(path))


def parse_json(content: bytes, where: str) -> Any:
    """As `read_json`, of bytes; `where` names them in errors."""
    try:
        return json.loads(
            content.decode(),
            object_pairs_hook=_without_repeats,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{where} is not valid JSON: {error}") from error


def plain(value: Any) -> Any:
    """What will be read again: lists for tuples, numbers for numpy's."""
    return json.loads(json.dumps(value, default=_to_builtin, allow_nan=False))


def _to_builtin(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "__array__"):
        return np.asarray(value).tolist()
    raise TypeError(f"cannot write a {type(value).__name__} as JSON")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"key {repeated!r} is given twice")
    return table


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"numbers must be finite, got {text}")
    return value
