"""Arrays out of files that torch.save wrote before version 1.6, without torch.

Such a file is a pickle, and a pickle can run any code; here it may name five kinds of things, which
are mapped onto numpy, and nothing else.
"""

from __future__ import annotations

import collections
import io
import math
import pickle
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a state dict by name.

    Raises:
      ValueError: if the file is damaged, of another format, asks for anything but tensors, or holds
        something else than a dict of them.
    """
    content = Path(path).read_bytes()
    stream = io.BytesIO(content)
    try:
        _check_header(path, stream)
        unpickler = _TensorUnpickler(stream, len(content))
        tree = unpickler.load()
        _fill(stream, unpickler.storages)
    except (
        pickle.UnpicklingError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        OverflowError,
    ) as error:
        raise ValueError(f"{path} is damaged, or no file of tensors: {error!r}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(tree, dict) or not all(
        isinstance(leaf, np.ndarray) for leaf in tree.values()
    ):
        raise ValueError(f"{path} must hold a dict of tensors, got {type(tree).__name__}")
    return {str(name): np.array(leaf) for name, leaf in tree.items()}


class _TensorUnpickler(pickle.Unpickler):
    """Builds numpy views of storages that are read afterwards."""

    def __init__(self, stream: io.BytesIO, size: int) -> None:
        super().__init__(stream)
        self.storages: dict[str, np.ndarray] = {}
        self._size = size

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _view
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise ValueError(f"asks for {module}.{name}, which a file of tensors has no use for")

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, dtype, key, _, length = pid[:5]
        if kind != "storage" or not isinstance(dtype, np.dtype) or not isinstance(key, str):
            raise ValueError(f"expected a storage, got {pid!r}")
        if not 0 <= length * dtype.itemsize <= self._size:
            raise ValueError(f"storage {key} is said to have {length} elements, more than the file")
        return self.storages.setdefault(key, np.zeros(length, dtype))


def _view(
    storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> np.ndarray:
    last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    inside = offset >= 0 and min(strides, default=0) >= 0 and last < storage.size
    if not inside and math.prod(shape):
        raise ValueError(f"a tensor of shape {shape} lies beyond its storage")
    steps = tuple(step * storage.itemsize for step in strides)
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps)


def _check_header(path: Path, stream: io.BytesIO) -> None:
    for expected in (MAGIC, PROTOCOL):
        if _PlainUnpickler(stream).load() != expected:
            raise ValueError("is not of the format that torch.save wrote before version 1.6")
    system = _PlainUnpickler(stream).load()
    if not system.get("little_endian"):
        raise ValueError("was written on a big-endian machine")


def _fill(stream: io.BytesIO, storages: dict[str, np.ndarray]) -> None:
    """Reads the storages' contents, which follow in the order of a pickled list of their keys."""
    for key in _PlainUnpickler(stream).load():
        storage = storages[key]
        length = int.from_bytes(stream.read(8), "little")
        raw = stream.read(storage.nbytes)
        if length != storage.size or len(raw) != storage.nbytes:
            raise ValueError(f"storage {key} is cut short")
        storage[:] = np.frombuffer(raw, storage.dtype)


class _PlainUnpickler(pickle.Unpickler):
    """Numbers, strings, lists and dicts only."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise ValueError(f"asks for {module}.{name} where numbers and names are expected")
