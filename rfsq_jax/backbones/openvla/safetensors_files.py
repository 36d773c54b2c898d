"""Tensors out of safetensors files, by name and without reading more than is asked for."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

MAX_HEADER = 100_000_000
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
      ValueError: if the file is damaged or cut short; the message names the tensors.
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
    try:
        places = json.loads(index.read_bytes())["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{index} is no index of shards: {error!r}") from error
    if not isinstance(places, dict) or not places:
        raise ValueError(f"{index} must have a weight_map of names to files")
    for key, name in places.items():
        # A name with a folder in it could lead anywhere.
        if not isinstance(name, str) or Path(name).name != name:
            raise ValueError(f"{index} must give a file name for {key}, got {name!r}")
    return places


def _read_header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    """The entries by tensor, and where the data starts."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_HEADER):
            raise ValueError(f"{path} is cut short, or no safetensors file")
        raw = file.read(length)
    try:
        header = json.loads(raw)
    except ValueError as error:
        raise ValueError(f"{path} has a damaged header: {error}") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path} has a damaged header: it is no table")
    header.pop("__metadata__", None)
    return header, 8 + length


def _parse(path: Path, name: str, entry: Any, start: int) -> _Entry:
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {name} has a damaged entry {entry!r}") from error
    if dtype not in DTYPES:
        raise ValueError(f"{path}: {name} must be one of {', '.join(DTYPES)}, got {dtype!r}")
    if not all(type(value) is int and value >= 0 for value in (*shape, begin, end)):
        raise ValueError(f"{path}: {name} has a damaged entry {entry!r}")
    if end - begin != math.prod(shape) * DTYPES[dtype].itemsize:
        raise ValueError(f"{path}: {name} of shape {shape} cannot have {end - begin} bytes")
    return _Entry(DTYPES[dtype], shape, start + begin, start + end)
