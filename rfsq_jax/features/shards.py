"""One shard on disk: a folder of plain .npy files, and shard.json with their checksums.

shard.json has a hash over itself, which features.json repeats; older ones have none.

Axes: M frames · S feature tokens · E width · T steps of a chunk · A action dims.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np

from rfsq_jax.backbones.protocol import DEPTHS, Depth
from rfsq_jax.runs.arrays import read_npy
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.descriptions import SEAL, digest, require_object, unseal, write_sealed
from rfsq_jax.runs.files import atomic_folder
from rfsq_jax.runs.json_files import read_json
from rfsq_jax.runs.records import parse_record

DESCRIPTION = "shard.json"
COLUMNS = {
    "state": (np.float32, 2),
    "actions": (np.float32, 3),
    "episode": (np.int32, 1),
    "frame": (np.int32, 1),
    "held_out": (np.bool_, 1),
    "instruction": (np.int32, 1),
}
"""What lies beside the features, one row per frame: dtype and number of axes."""
FILES = frozenset(f"{name}.npy" for name in (*DEPTHS, *COLUMNS))
DTYPES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
_CHUNK = 1 << 24


@dataclasses.dataclass(frozen=True)
class ShardFile:
    """shard.json without its hash.

    Attributes:
      frames: M.
      bytes: size of each file.
      crc32: checksum of each file.
    """

    frames: int
    bytes: dict[str, int]
    crc32: dict[str, int]

    def __post_init__(self) -> None:
        require(self.frames >= 1, "frames", "at least 1", self.frames)
        for name in ("bytes", "crc32"):
            found = getattr(self, name)
            require(set(found) == FILES, name, f"of {', '.join(sorted(FILES))}", sorted(found))

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.bytes.values())


def write_shard(
    folder: Path, features: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray]
) -> int:
    """Writes features by depth and the columns beside them, whole or not at all.

    Returns:
      the bytes written.
    """
    with atomic_folder(folder, {DESCRIPTION, *FILES}) as temporary:
        for name, array in {**features, **columns}.items():
            # numpy's format knows no bfloat16; its bits are kept.
            plain = array.view(np.uint16) if array.dtype == ml_dtypes.bfloat16 else array
            np.save(temporary / f"{name}.npy", plain, allow_pickle=False)
        files = sorted(temporary.glob("*.npy"))
        written = ShardFile(
            frames=len(columns["frame"]),
            bytes={path.name: path.stat().st_size for path in files},
            crc32={path.name: _checksum(path) for path in files},
        )
        write_sealed(temporary / DESCRIPTION, dataclasses.asdict(written))
    return written.size


def shard_folder(output: Path, index: int) -> Path:
    """Where a shard is."""
    return output / f"shard-{index:05d}"


def check_shard(folder: Path, *, contents: bool, sha256: str | None = None) -> ShardFile:
    """Returns a shard's description after a look at its files.

    Args:
      folder: the shard.
      contents: whether to read everything and compare checksums, or only sizes.
      sha256: of the description, where it is known.

    Raises:
      ValueError: if a file is missing, cut short or altered; it is named.
    """
    description, found = _read(folder)
    if sha256 is not None and digest(found) != sha256:
        raise ValueError(f"{folder / DESCRIPTION} is not the one that features.json names")
    for name, size in description.bytes.items():
        file = folder / name
        if not file.is_file():
            raise ValueError(f"{file} is missing")
        if file.stat().st_size != size:
            raise ValueError(f"{file} must have {size} bytes, got {file.stat().st_size}")
        if contents and _checksum(file) != description.crc32[name]:
            raise ValueError(f"{file} was altered: its checksum is not the one written down")
    return description


def shard_hash(folder: Path) -> str:
    """The hash of a shard's description, for features.json."""
    return digest(_read(folder)[1])


def _read(folder: Path) -> tuple[ShardFile, dict[str, object]]:
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ValueError(f"{path} is missing; run train.features again to finish")
    found = require_object(str(path), read_json(path))
    # Those of the first format have no hash.
    rest = unseal(str(path), found) if SEAL in found else found
    return parse_record(ShardFile, rest, str(path)), found


def open_features(folder: Path, name: str, depth: Depth, dtype: str) -> np.ndarray:
    """Maps a shard's features into memory: [M, S, E].

    Raises:
      ValueError: if the file has another dtype or shape.
    """
    path = folder / f"{name}.npy"
    mapped = read_npy(path, mmap=True)
    # numpy's format knows no bfloat16; its bits are kept.
    kept = np.dtype(np.uint16) if dtype == "bfloat16" else DTYPES[dtype]
    _require_array(
        path, mapped, kept, (len(mapped) if mapped.ndim else 0, depth.tokens, depth.width)
    )
    return mapped.view(DTYPES[dtype])


def read_columns(folder: Path) -> dict[str, np.ndarray]:
    """Reads the small columns.

    Raises:
      ValueError: if one is no array of its dtype and number of axes, or has another length.
    """
    columns = {}
    for name, (dtype, axes) in COLUMNS.items():
        path = folder / f"{name}.npy"
        column = read_npy(path)
        require(column.ndim == axes, f"{path}: axes", str(axes), column.shape)
        rows = len(next(iter(columns.values()), column))
        _require_array(path, column, np.dtype(dtype), (rows, *column.shape[1:]))
        columns[name] = column
    return columns


def _require_array(path: Path, array: np.ndarray, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        got = f"{array.dtype} {array.shape}"
        raise ValueError(f"{path} must hold {dtype} of shape {shape}, got {got}")


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            value = zlib.crc32(chunk, value)
    return value
