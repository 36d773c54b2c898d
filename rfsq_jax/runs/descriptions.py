"""Files that describe something: one JSON object under a hash of its own, perhaps of a version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rfsq_jax.runs.checks import DamagedError
from rfsq_jax.runs.json_files import plain, read_json, write_json

SEAL = "sha256"
"""The key whose value is the hash of all the others."""

VERSION = "format_version"


def write_sealed(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a description with its hash."""
    write_json(path, sealed(values))


def read_sealed(path: Path) -> dict[str, Any]:
    """Returns what `write_sealed` wrote.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no JSON object; a DamagedError if it is not as it was written.
    """
    return unseal(str(path), read_json(path))


def read_versioned(path: Path, what: str, *, newest: int, sealed_since: int) -> dict[str, Any]:
    """As `read_sealed`, of a description with a version of its format.

    Args:
      path: the file.
      what: it describes, for errors.
      newest: the version that is written; older ones are read.
      sealed_since: the first version with a hash.

    Raises:
      FileNotFoundError, ValueError: as `read_sealed`; also for another version.
    """
    values = require_object(str(path), read_json(path))
    version = values.get(VERSION)
    if type(version) is not int or version < 1:
        raise ValueError(f"{path} has no {VERSION} of 1 or more: not a {what}")
    if version > newest:
        raise ValueError(
            f"{path.parent} has format version {version}, this rfsq_jax reads up to {newest}: "
            "update rfsq_jax"
        )
    if SEAL not in values and version < sealed_since:
        return values
    return unseal(str(path), values)


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the same as JSON has it, with its hash."""
    whole = plain(dict(values))
    return {**whole, SEAL: digest(whole)}


def unseal(where: str, values: Any) -> dict[str, Any]:
    """Returns the same without its hash.

    Raises:
      ValueError: if it is no JSON object; a DamagedError if the hash is missing or another one.
    """
    found = require_object(where, values)
    if found.get(SEAL) != digest(found):
        raise DamagedError(f"{where} is damaged: its {SEAL} is not that of its content")
    return {key: each for key, each in found.items() if key != SEAL}


def digest(values: Mapping[str, Any]) -> str:
    """SHA-256 of all but the seal; order of keys and white space do not count."""
    rest = {key: each for key, each in values.items() if key != SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def require_object(where: str, values: Any) -> dict[str, Any]:
    """Returns `values` if it is a JSON object, else raises a ValueError."""
    if not isinstance(values, dict):
        raise ValueError(f"{where} must be a JSON object, got {type(values).__name__}")
    return values
