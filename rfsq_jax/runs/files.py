"""Files that are either whole or absent under their final name."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rfsq_jax.parallel.hosts import is_primary, unique_tag


@contextlib.contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yields a temporary path beside `final`; renames it on success, removes it on error.

    Works for a file and for a folder (an existing folder under the final name is replaced).

    Raises:
      OSError: if the file system refuses (full disk, no permission); `final` is then untouched.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f".{final.name}.{unique_tag()}.tmp")
    try:
        yield temporary
        _replace(temporary, final)
    finally:
        _remove(temporary)


@contextlib.contextmanager
def primary_path(final: Path) -> Iterator[Path]:
    """As `atomic_path`, for what every process of a run makes alike: only the first one's stays."""
    if is_primary():
        with atomic_path(final) as temporary:
            yield temporary
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / Path(final).name


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Removes what killed runs left of files or folders of that name which they did not finish."""
    for leftover in folder.glob(f".{name}.*.tmp*"):
        _remove(leftover)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON; numpy scalars and arrays become numbers and lists."""
    with atomic_path(path) as temporary:
        text = json.dumps(value, indent=2, default=_to_builtin, allow_nan=False)
        temporary.write_text(text + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file; a damaged one is named in the error."""
    try:
        return json.loads(Path(path).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def _replace(temporary: Path, final: Path) -> None:
    if not (temporary.is_dir() and final.is_dir()):
        os.replace(temporary, final)
        return
    outgoing = final.with_name(f".{final.name}.{unique_tag()}.old")
    os.replace(final, outgoing)
    os.replace(temporary, final)
    shutil.rmtree(outgoing)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _to_builtin(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "__array__"):
        return np.asarray(value).tolist()
    raise TypeError(f"cannot write a {type(value).__name__} as JSON")
