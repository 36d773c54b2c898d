"""JSON files: written whole, read strictly, and sealed by a hash where they describe something."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rfsq_jax.runs.checks import DamagedError
from rfsq_jax.runs.files import atomic_path, read_bounded

MAX_BYTES = 100_000_000
"""No JSON file of ours comes near; a larger one is not read into memory."""

SEAL = "sha256"
"""The key whose value is the hash of all the others."""


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON; numpy scalars and arrays become numbers and lists."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(_plain(value), indent=2) + "\n")


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


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the same with the hash that `require_seal` compares."""
    plain = _plain(dict(value))
    return {**plain, SEAL: digest(plain)}


def require_seal(where: str, value: Mapping[str, Any]) -> None:
    """Raises a DamagedError unless `value` is as `sealed` made it."""
    if value.get(SEAL) != digest(value):
        raise DamagedError(f"{where} is damaged: its {SEAL} is not that of its content")


def digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of all but the seal; order of keys and white space do not count."""
    rest = {key: each for key, each in value.items() if key != SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def require_object(value: Any, where: str) -> dict[str, Any]:
    """Returns `value` if it is a JSON object, else raises a ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a JSON object, got {type(value).__name__}")
    return value


def _plain(value: Any) -> Any:
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
