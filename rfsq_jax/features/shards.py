"""One shard on disk: a folder of plain .npy files, and shard.json with their checksums.

Axes: M frames · S feature tokens · E width · T steps of a chunk · A action dims.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from rfsq_jax.runs.files import atomic_folder
from rfsq_jax.runs.json_files import read_json, write_json

DESCRIPTION = "shard.json"
COLUMNS = ("state", "actions", "episode", "frame", "held_out", "instruction")
DTYPES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
_CHUNK = 1 << 24


def write_shard(
    folder: Path, features: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray]
) -> int:
    """Writes features by depth and the columns beside them, whole or not at all.

    Returns:
      the bytes written.
    """
    own = {DESCRIPTION, *(f"{name}.npy" for name in (*features, *columns))}
    with atomic_folder(folder, own) as temporary:
        for name, array in {**features, **columns}.items():
            # numpy's format knows no bfloat16; its bits are kept.
            plain = array.view(np.uint16) if array.dtype == ml_dtypes.bfloat16 else array
            np.save(temporary / f"{name}.npy", plain, allow_pickle=False)
        files = sorted(temporary.glob("*.npy"))
        sizes = {path.name: path.stat().st_size for path in files}
        checksums = {path.name: _checksum(path) for path in files}
        frames = len(columns["frame"])
        write_json(temporary / DESCRIPTION, {"frames": frames, "bytes": sizes, "crc32": checksums})
    return sum(sizes.values())


def shard_folder(output: Path, index: int) -> Path:
    """Where a shard is."""
    return output / f"shard-{index:05d}"


def check_shard(folder: Path, *, contents: bool) -> dict[str, Any]:
    """Returns a shard's description after a look at its files.

    Args:
      folder: the shard.
      contents: whether to read everything and compare checksums, or only sizes.

    Raises:
      ValueError: if a file is missing, cut short or altered; it is named.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ValueError(f"{path} is missing; run train.features again to finish")
    description = read_json(path)
    if missing := {"frames", "bytes", "crc32"} - set(description):
        raise ValueError(f"{path} must name {', '.join(sorted(missing))}")
    for name, size in description["bytes"].items():
        file = folder / name
        if not file.is_file():
            raise ValueError(f"{file} is missing")
        if file.stat().st_size != size:
            raise ValueError(f"{file} must have {size} bytes, got {file.stat().st_size}")
        if contents and _checksum(file) != description["crc32"][name]:
            raise ValueError(f"{file} was altered: its checksum is not the one written down")
    return description


def finished_bytes(output: Path, count: int) -> int:
    """Checks the sizes of all shards' files and returns their sum.

    Raises:
      ValueError: if one is missing or cut short.
    """
    described = (check_shard(shard_folder(output, index), contents=False) for index in range(count))
    return sum(sum(each["bytes"].values()) for each in described)


def open_features(folder: Path, depth: str, dtype: str) -> np.ndarray:
    """Maps a shard's features into memory: [M, S, E]."""
    return np.load(folder / f"{depth}.npy", mmap_mode="r", allow_pickle=False).view(DTYPES[dtype])


def read_columns(folder: Path) -> dict[str, np.ndarray]:
    """Reads the small columns."""
    return {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in COLUMNS}


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            value = zlib.crc32(chunk, value)
    return value
