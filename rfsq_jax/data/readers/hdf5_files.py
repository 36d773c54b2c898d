"""HDF5 files, read so that nothing leads out of them and nothing is larger than they account for.

HDF5 has links and datasets that stand for other files, and declares sizes that it stores nothing
for; h5py answers damage with half a dozen kinds of errors. Here every object is looked at before it
is read, and what is wrong is one ValueError that names the file and the object.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rfsq_jax.data.readers.hdf5_strings import check_strings

MAX_STEPS = 100_000
"""Of an episode: 83 minutes at 20 Hz. Demonstrations of LIBERO have some hundreds."""
MAX_BYTES = 2**29
"""Of one array in memory: 2,700 steps of images of 256 x 256."""
MAX_CHUNK_BYTES = 2**28
MAX_RATIO = 1040
"""Deflate, the best of the filters below, makes at most 1032 bytes out of one."""
MAX_ATTRIBUTE_VALUES = 2**16

# Filters of other kinds are libraries that HDF5 would look for on this machine.
_PACKING = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_LZF})
_FILTERS = _PACKING | {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_DAMAGED = "is damaged or not laid out like LIBERO's demonstrations"
_DAMAGE = (OSError, KeyError, RuntimeError, TypeError, ValueError, OverflowError, MemoryError)

Shape = tuple[int | None, ...]
"""None stands for any length."""


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[StoredGroup]:
    """Yields the root of a file.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no HDF5 file, or is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no HDF5 file at {path}")
    with _named(path, "it"):
        file = h5py.File(path, "r")
    with file:
        yield StoredGroup(path, "", file, functools.cache(functools.partial(check_strings, path)))


@dataclasses.dataclass(frozen=True, eq=False)
class StoredGroup:
    """A group of an open file. All methods raise a ValueError for what is damaged or elsewhere.

    Attributes:
      path: of the file.
      name: of the group, "" for the root.
      handle: what h5py has of it.
      check_strings: looks, once for each name, at what a string is read from.
    """

    path: Path
    name: str
    handle: h5py.Group
    check_strings: Callable[[str], None]

    @property
    def file_size(self) -> int:
        """Bytes of the whole file."""
        return self.path.stat().st_size

    def names(self) -> list[str]:
        """What lies in it."""
        with self.reading("its names"):
            return [_checked(str(name)) for name in self.handle]

    def has(self, name: str) -> bool:
        """Whether it holds an object of this name, or something that stands for one."""
        with self.reading(name):
            return self.handle.get(name, getlink=True) is not None

    def has_attribute(self, name: str) -> bool:
        """Whether it has an attribute of this name."""
        with self.reading(f"attribute {name}"):
            return name in self.handle.attrs

    def group(self, name: str) -> StoredGroup:
        """The group of this name, whose parts "/" keeps apart."""
        found = self._find(name)
        if not isinstance(found, h5py.Group):
            raise self._refuse(name, "must be a group")
        return dataclasses.replace(self, name=self._full(name), handle=found)

    def is_group(self, name: str) -> bool:
        """Whether what it holds under this name is a group."""
        return isinstance(self._find(name), h5py.Group)

    def array_shape(self, name: str, shape: Shape, kind: str) -> tuple[int, ...]:
        """The shape of an array; it is checked, and nothing is read."""
        return self._dataset(name, shape, kind).shape

    def array(self, name: str, shape: Shape, kind: str, rows: Any = ()) -> np.ndarray:
        """The values of an array.

        Args:
          name: parts are kept apart by "/".
          shape: what it must have.
          kind: what numpy must call its type's kind: "f", "u".
          rows: which of them; all by default.
        """
        dataset = self._dataset(name, shape, kind)
        with self.reading(name):
            return dataset[rows]

    def floats(self, name: str, shape: Shape) -> np.ndarray:
        """The values of an array as float32; numbers beyond it become inf."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.array(name, shape, "f").astype(np.float32)

    def attributes(self) -> dict[str, Any]:
        """All attributes: strings, and arrays of numbers."""
        with self.reading("its attributes"):
            names = [_checked(str(name)) for name in self.handle.attrs]
        return {name: self._attribute(name) for name in names}

    def text(self, name: str) -> str:
        """An attribute that is a string."""
        value = self._attribute(name)
        if not isinstance(value, str):
            raise self._refuse(f"attribute {name}", f"must be a string, got {value!r:.80}")
        return value

    def number(self, name: str) -> int:
        """An attribute that is a whole number of at least 0."""
        value = self._attribute(name)
        if isinstance(value, str) or value.dtype.kind not in "iu" or value.ndim or value < 0:
            raise self._refuse(f"attribute {name}", f"must be a number, got {value!r:.80}")
        return int(value)

    def vector(self, name: str, shape: Shape) -> np.ndarray:
        """An attribute that is an array of finite float64."""
        value = self._attribute(name)
        if isinstance(value, str) or value.dtype != np.float64 or not fits(value.shape, shape):
            expected = f"must be float64 {shape}, got {value!r:.80}"
            raise self._refuse(f"attribute {name}", expected)
        if not np.isfinite(value).all():
            raise self._refuse(f"attribute {name}", "must be finite, got NaN or inf")
        return value

    def _find(self, name: str) -> Any:
        """The object, if every part on the way to it is a group of this file."""
        found: Any = self.handle
        for part in name.split("/"):
            with self.reading(name):
                link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
            if link is None:
                raise self._refuse(name, "is missing")
            if not isinstance(link, h5py.HardLink):
                raise self._refuse(name, "must lie in the file itself, got a link")
            with self.reading(name):
                found = found[part]
        return found

    def _dataset(self, name: str, shape: Shape, kind: str) -> h5py.Dataset:
        dataset = self.plain_dataset(name)
        with self.reading(name):
            found, dtype = dataset.shape, dataset.dtype
        if dtype.kind != kind or found is None or not fits(found, shape):
            expected = f"must have kind {kind!r} and shape {shape}"
            raise self._refuse(name, f"{expected}, got {dtype} {found}")
        if found[0] > MAX_STEPS:
            raise self._refuse(name, f"must have at most {MAX_STEPS} steps, got {found}")
        return dataset

    def plain_dataset(self, name: str) -> h5py.Dataset:
        """An array as h5py has it; its values lie in this file, of a size that this can hold."""
        dataset = self._find(name)
        if not isinstance(dataset, h5py.Dataset):
            raise self._refuse(name, "must be an array")
        with self.reading(name):
            elsewhere = dataset.is_virtual or dataset.external
            creation = dataset.id.get_create_plist()
            filters = [creation.get_filter(i)[0] for i in range(creation.get_nfilters())]
            chunk = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
            stored, size = dataset.id.get_storage_size(), dataset.nbytes
        if elsewhere:
            raise self._refuse(name, "must hold its values itself, got a pointer to other files")
        if len(set(filters)) < len(filters) or not _FILTERS.issuperset(filters):
            raise self._refuse(name, f"is stored through filters {filters}")
        most = stored * (MAX_RATIO if _PACKING.intersection(filters) else 1)
        if size > MAX_BYTES or chunk > MAX_CHUNK_BYTES:
            raise self._refuse(name, f"must have at most {MAX_BYTES} bytes, got {size}")
        if stored > self.file_size or size > most:
            raise self._refuse(name, f"declares {size} bytes, of which {stored} are stored")
        return dataset

    def _attribute(self, name: str) -> Any:
        with self.reading(f"attribute {name}"):
            stored = self.handle.attrs.get_id(name)
            shape, dtype = stored.shape, stored.dtype
            if shape is None or math.prod(shape) > MAX_ATTRIBUTE_VALUES:
                raise ValueError(f"it has shape {shape}")
            is_text = h5py.check_string_dtype(dtype) is not None and shape == ()
            if not is_text and dtype.kind not in "biuf":
                raise ValueError(f"it is of type {dtype}")
            if is_text:
                self.check_strings(name)
            value: Any = self.handle.attrs[name]
            if is_text:
                return value.decode() if isinstance(value, bytes) else _checked(value)
            return np.asarray(value)

    def _full(self, name: str) -> str:
        return f"{self.name}/{name}" if self.name else name

    def _refuse(self, name: str, reason: str) -> ValueError:
        return ValueError(f"{self.path} {_DAMAGED}: {self._full(name)} {reason}")

    def reading(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Around calls of h5py: its errors become one that names this object."""
        return _named(self.path, self._full(name))


def fits(found: tuple[int, ...], wanted: Shape) -> bool:
    """Whether a shape is of the wanted kind."""
    return len(found) == len(wanted) and all(
        size is None or size == there for there, size in zip(found, wanted, strict=True)
    )


def _checked(text: str) -> str:
    """Bytes that are no UTF-8 reach h5py's strings as surrogates, which nothing can write."""
    text.encode()
    return text


@contextlib.contextmanager
def _named(path: Path, what: str) -> Iterator[None]:
    """Turns h5py's errors into one; nothing but h5py is called inside."""
    try:
        yield
    except _DAMAGE as error:
        raise ValueError(f"{path} {_DAMAGED}: {what} cannot be read: {error}") from error
