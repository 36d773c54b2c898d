"""Arrays out of files that torch.save wrote, without torch and without running their pickles.

Two formats: since torch 1.6 a zip of one pickle and a member per storage; before, a row of pickles
followed by the storages. The pickle describes tensors as views of storages; it is read by
`plain_pickle`, may name the things in `_NAMES`, and nothing else.
"""

from __future__ import annotations

import dataclasses
import io
import math
import struct
import zipfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.lib.stride_tricks import as_strided

from rfsq_jax.interop.plain_pickle import load_plain

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
ZIP_START = b"PK\x03\x04"
MAX_DIMENSIONS = 64
_DAMAGE = (
    ValueError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    MemoryError,
    struct.error,
)
DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a state dict by name, as read-only arrays.

    Tensors that share a storage share its memory here too.

    Raises:
      ValueError: if the file is damaged, of another format, asks for anything but tensors, or holds
        something else than a dict of them.
    """
    content = Path(path).read_bytes()
    try:
        read = _read_zip if content.startswith(ZIP_START) else _read_legacy
        tree, storages = read(io.BytesIO(content))
        return _arrays(tree, storages)
    except _DAMAGE as error:
        raise ValueError(f"{path} is no state dict that can be read: {error}") from error


@dataclasses.dataclass(frozen=True)
class _Storage:
    """A flat run of numbers, kept apart from the pickle under `key`."""

    key: str
    dtype: np.dtype
    size: int

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A view of a storage; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _read_legacy(stream: io.BytesIO) -> tuple[Any, dict[str, np.ndarray]]:
    for expected in (MAGIC, PROTOCOL):
        if load_plain(stream) != expected:
            raise ValueError("it is not of a format of torch.save")
    system = load_plain(stream)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("it was not written on a little-endian machine")
    claims = _Claims()
    tree = load_plain(stream, _NAMES, claims.add)
    order = load_plain(stream)
    if not isinstance(order, list) or not all(isinstance(key, str) for key in order):
        raise ValueError("its list of storages is damaged")
    if sorted(order) != sorted(claims.storages):
        raise ValueError(f"it lists {len(order)} storages, its tensors use others")
    return tree, {key: _take(stream, claims.storages[key]) for key in order}


def _take(stream: io.BytesIO, storage: _Storage) -> np.ndarray:
    """Reads a storage's length and then its contents."""
    length = int.from_bytes(stream.read(8), "little")
    return _checked(storage, stream.read(storage.nbytes), length)


def _read_zip(stream: io.BytesIO) -> tuple[Any, dict[str, np.ndarray]]:
    with zipfile.ZipFile(stream) as archive:
        _check_members(archive.infolist(), len(stream.getbuffer()))
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"a zip of torch.save has one data.pkl, this has {len(pickles)}")
        root = pickles[0].removesuffix("data.pkl")
        order = f"{root}byteorder"
        # Files from before torch 2.1 do not say; they are taken for little-endian.
        if order in archive.namelist() and _member(archive, order) != b"little":
            raise ValueError("it was not written on a little-endian machine")
        claims = _Claims()
        tree = load_plain(io.BytesIO(_member(archive, pickles[0])), _NAMES, claims.add)
        return tree, {
            key: _checked(storage, _member(archive, f"{root}data/{key}"), storage.size)
            for key, storage in claims.storages.items()
        }


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    """Members that lie within each other could be many times as large as the file."""
    names = {each.filename for each in members}
    if len(names) < len(members) or sum(each.file_size for each in members) > size:
        raise ValueError(f"its {len(members)} members must be different ones within {size} bytes")


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Reads a member as torch.save stores it: neither packed nor encrypted."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise ValueError(f"it lacks {name}") from None
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise ValueError(f"{name} is packed or encrypted, which torch.save does not do")
    return archive.read(info)


def _checked(storage: _Storage, raw: bytes, length: int) -> np.ndarray:
    if length != storage.size or len(raw) != storage.nbytes:
        raise ValueError(
            f"storage {storage.key} should have {storage.size} elements in {storage.nbytes} bytes, "
            f"got {length} in {len(raw)}"
        )
    if storage.dtype.kind == "b" and raw.strip(b"\0\1"):
        raise ValueError(f"storage {storage.key} must hold booleans, got other bytes")
    return np.frombuffer(raw, storage.dtype)


class _Claims:
    """The storages that a pickle says there are."""

    def __init__(self) -> None:
        self.storages: dict[str, _Storage] = {}

    def add(self, pid: Any) -> _Storage:
        """("storage", dtype, key, device, size), in old files also a view, which must be None."""
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            raise ValueError("it refers to something else than a storage")
        _, dtype, key, _, size, *view = pid
        if not isinstance(dtype, np.dtype) or not isinstance(key, str) or view not in ([], [None]):
            raise ValueError("it refers to a storage of an unknown kind")
        if not _are_counts(size):
            raise ValueError(f"storage {key} must have a number of elements of at least 0")
        storage = _Storage(key, dtype, size)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"storage {key} is said to be of two kinds")
        return storage


def _tensor(arguments: tuple[Any, ...]) -> _Tensor:
    """Arguments of torch._utils._rebuild_tensor_v2; the fifth on concern gradients only."""
    if len(arguments) < 4:
        raise ValueError("a tensor lacks its storage, offset, shape or strides")
    storage, offset, shape, strides = arguments[:4]
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor must be a view of a storage")
    if not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise ValueError("a tensor's shape and strides must be tuples")
    # Before they are looked through: many tensors may share one endless tuple.
    if max(len(shape), len(strides)) > MAX_DIMENSIONS:
        raise ValueError(f"a tensor must have at most {MAX_DIMENSIONS} axes, got {len(shape)}")
    if not _are_counts(offset, *shape, *strides) or len(shape) != len(strides):
        raise ValueError("a tensor's offset, shape and strides must be numbers of at least 0")
    last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    # The second bound stops a step of 0 from making terabytes out of one number.
    if math.prod(shape) and (last >= storage.size or math.prod(shape) > storage.size):
        raise ValueError(f"a tensor of shape {shape} lies beyond its storage {storage.key}")
    return _Tensor(storage, offset, shape, strides)


def _are_counts(*values: Any) -> bool:
    return all(type(value) is int and 0 <= value < 2**48 for value in values)


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if arguments:
        raise ValueError("an OrderedDict must be made empty and filled afterwards")
    return {}


def _arrays(tree: Any, storages: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if not isinstance(tree, dict):
        raise ValueError(f"it must hold a dict of tensors, got {type(tree).__name__}")
    for name, tensor in tree.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise ValueError(f"it must hold a dict of tensors, got {name!r} in it")
    return {name: _array(tensor, storages) for name, tensor in tree.items()}


def _array(tensor: _Tensor, storages: dict[str, np.ndarray]) -> np.ndarray:
    if not math.prod(tensor.shape):
        return np.zeros(tensor.shape, tensor.storage.dtype)
    steps = tuple(step * tensor.storage.dtype.itemsize for step in tensor.strides)
    start = storages[tensor.storage.key][tensor.offset :]
    return as_strided(start, tensor.shape, steps, writeable=False)


_NAMES = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    **{f"torch.{name}": dtype for name, dtype in DTYPES.items()},
}
