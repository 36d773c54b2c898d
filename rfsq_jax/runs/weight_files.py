"""A tree of arrays as one npz file whose hash stands elsewhere; no pickle.

The leaves are named by their path, levels apart by "/"; a level of digits is a list's index.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from rfsq_jax.runs.trees import flatten, require_same, unflatten

WEIGHTS = "weights.npz"


def write_weights(folder: Path, tree: dict[str, Any]) -> str:
    """Writes `folder/weights.npz` and returns its sha256."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {path: np.asarray(leaf) for path, leaf in flatten(tree).items()}
    np.savez(buffer, **arrays)
    (folder / WEIGHTS).write_bytes(buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def read_weights(folder: Path, sha256: str) -> dict[str, Any]:
    """Reads the tree back, as numpy arrays.

    Raises:
      ValueError: if the file is missing, is not the one with that hash, or holds something else.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path} is damaged: its sha256 is not the one that was written down")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return unflatten(dict(arrays))
    except (zipfile.BadZipFile, ValueError) as error:
        raise ValueError(f"{path} is not an npz file of plain arrays: {error}") from error


def check_version(path: Path, description: dict[str, Any], newest: int, what: str) -> None:
    """Raises a ValueError unless this rfsq_jax reads the format of a description."""
    version = description.get("format_version")
    if not isinstance(version, int):
        raise ValueError(f"{path} has no format_version: not a {what}")
    if version > newest:
        raise ValueError(
            f"{path.parent} has format version {version}, this rfsq_jax reads up to {newest}: "
            "update rfsq_jax"
        )


def check_shapes(path: Path, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    """Raises a ValueError that names the leaves whose shapes differ between two trees."""
    expected, got = (
        {path: f"shape {leaf.shape}" for path, leaf in flatten(tree).items()}
        for tree in (wanted, found)
    )
    require_same(f"{path} does not fit its config", expected, got)
