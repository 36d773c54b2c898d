"""Tensors out of safetensors files, by name and without reading more than is asked for."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from rfsq_jax.runs.json_files import parse_json

MAX_HEADER = 100_000_000
MAX_DIMENSIONS = 8
DTYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(jnp.bfloat16)}


@dataclasses.dataclass(frozen=True)
class _Entry:
    """Where a tensor lies, in bytes of the file."""

    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def open_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a file by name; they lie in the file until they are read.

    Raises:
      ValueError: if the file is damaged or cut short, or its tensors overlap or leave gaps; the
        message names the tensors.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    size = path.stat().st_size
    header, start = _read_header(path, size)
    entries = {name: _parse(path, name, entry, start) for name, entry in header.items()}
    if not entries:
        raise ValueError(f"{path} has no tensors")
    cut = [f"{name} should end at byte {x.end}" for name, x in entries.items() if x.end > size]
    if cut:
        raise ValueError(f"{path} is cut short, at byte {size}: {'; '.join(cut)}")
    _require_gapless(path, entries, start, size)
    content = np.memmap(path, np.uint8, "r")
    return {
        name: content[x.begin : x.end].view(x.dtype).reshape(x.shape) for name, x in entries.items()
    }


def open_sharded(folder: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a folder: of the shards in its index, or of model.safetensors.

    Raises:
      ValueError: if a shard is missing or damaged, or does not hold what the index says.
    """
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return open_safetensors(folder / "model.safetensors")
    places = _read_places(index)
    files = {name: open_safetensors(folder / name) for name in sorted(set(places.values()))}
    lost = [f"{key} not in {name}" for key, name in places.items() if key not in files[name]]
    lost += [
        f"{key} in {name} but not in the index"
        for name, tensors in files.items()
        for key in tensors
        if places.get(key) != name
    ]
    if lost:
        raise ValueError(f"{index} does not fit its shards: {'; '.join(lost)}")
    return {key: files[name][key] for key, name in places.items()}


def _read_places(index: Path) -> dict[str, str]:
    table = parse_json(index.read_bytes(), f"{index} is no index of shards: it")
    if not isinstance(table, dict):
        raise ValueError(f"{index} is no index of shards, got a {type(table).__name__}")
    places = table.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ValueError(f"{index} must have a weight_map of names to files")
    for key, name in places.items():
        # A name with a folder in it could lead anywhere.
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".."):
            raise ValueError(f"{index} must give a file name for {key}, got {name!r}")
    return places


def _read_header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    """The entries by tensor, and where the data starts."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_HEADER):
            raise ValueError(f"{path} is cut short, or no safetensors file")
        raw = file.read(length)
    header = parse_json(raw, f"{path} has a damaged header: it")
    if not isinstance(header, dict):
        raise ValueError(f"{path} has a damaged header: it is no table")
    header.pop("__metadata__", None)
    return header, 8 + length


def _parse(path: Path, name: str, entry: Any, start: int) -> _Entry:
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {name} has a damaged entry {entry!r:.200}") from error
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{path}: {name} must be one of {', '.join(DTYPES)}, got {dtype!r}")
    counts = all(type(value) is int and 0 <= value < 2**63 for value in (*shape, begin, end))
    if not counts or 0 in shape or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"{path}: {name} has a damaged entry {entry!r:.200}")
    if end - begin != math.prod(shape) * DTYPES[dtype].itemsize:
        raise ValueError(f"{path}: {name} of shape {shape} cannot have {end - begin} bytes")
    return _Entry(DTYPES[dtype], shape, start + begin, start + end)


def _require_gapless(path: Path, entries: dict[str, _Entry], start: int, size: int) -> None:
    """The format has every byte of the data in one tensor."""
    place = start
    for name, entry in sorted(entries.items(), key=lambda item: item[1].begin):
        if entry.begin != place:
            raise ValueError(
                f"{path}: {name} must begin where the tensor before it ends, at byte {place}, "
                f"got {entry.begin}"
            )
        place = entry.end
    if place != size:
        raise ValueError(f"{path} must end with its last tensor, at byte {place}, got {size}")
