"""Plain arrays out of npy and npz files: no pickle, and no more memory than the file accounts for.

`numpy.load` allocates what a header asks for before it looks at the file. Here every size is
compared with the bytes that are there first, and any damage is one ValueError.

References:
  NPY: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import dataclasses
import io
import math
import os
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

UNPACKED_BYTES = 2**28
"""What the compressed members of one file may unpack to, in all."""
HEADER_BYTES = 10_000
MAX_DIMENSIONS = 32
MAX_EMPTY_AXIS = 2**16
"""Length of the other axes of an array without values: it takes no bytes that could bound it."""

Stream = IO[bytes] | io.BufferedIOBase

_LENGTHS = {b"\x93NUMPY\x01\x00": struct.Struct("<H"), b"\x93NUMPY\x02\x00": struct.Struct("<I")}
# Python 2 wrote its long integers with an L.
_SHAPE = r"\(((?:\d{1,18}L?, ?)*(?:\d{1,18}L?)?)\)"
_HEADER = re.compile(
    r"\{'descr': *'([<>|][biufcSU]\d{1,9})', *"
    r"'fortran_order': *(True|False), *"
    rf"'shape': *{_SHAPE},? *\}} *\n?"
)
_CHUNK = 2**20
_END_BYTES = 22
_DAMAGE = (
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    # Encrypted members, and ways of compression that are not known.
    RuntimeError,
    struct.error,
    OverflowError,
    MemoryError,
)


def read_npz(
    path: Path, content: bytes | None = None, *, most_bytes: int = UNPACKED_BYTES
) -> dict[str, np.ndarray]:
    """Reads every array of an npz file, by name.

    Args:
      path: the file; messages name it.
      content: what the file holds, if it has been read already.
      most_bytes: what compressed members may unpack to, in all; others are as large as the file.

    Returns:
      Arrays of numbers, booleans or strings, each with memory of its own.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged, holds something else, or is too large; file and member are
        named.
    """
    with Path(path).open("rb") if content is None else io.BytesIO(content) as stream:
        try:
            return _read_members(stream, most_bytes)
        except _DAMAGE as error:
            raise ValueError(
                f"{path} is not a whole NPZ file of plain arrays: {_reason(error)}"
            ) from error


def read_npy(path: Path, *, mmap: bool = False) -> np.ndarray:
    """Reads the array of an npy file.

    Args:
      path: the file.
      mmap: whether to map it, read-only, instead: its values are then read when they are used.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged or holds something else; the file is named.
    """
    with Path(path).open("rb") as stream:
        try:
            size = os.fstat(stream.fileno()).st_size
            return _map_array(stream, size) if mmap else _read_array(stream, size)
        except _DAMAGE as error:
            raise ValueError(
                f"{path} is not a whole NPY file of a plain array: {_reason(error)}"
            ) from error


@dataclasses.dataclass(frozen=True)
class _Layout:
    """What a header says: the values begin `offset` bytes into the file."""

    dtype: np.dtype
    shape: tuple[int, ...]
    in_columns: bool
    offset: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def arranged(self, flat: np.ndarray) -> np.ndarray:
        return flat.reshape(self.shape, order="F" if self.in_columns else "C")


def _read_members(stream: io.BufferedReader | io.BytesIO, most_bytes: int) -> dict[str, np.ndarray]:
    size = stream.seek(0, os.SEEK_END)
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        _check_count(stream, archive.comment, len(members))
        _check_members(members, size, most_bytes)
        return {each.filename.removesuffix(".npy"): _member(archive, each) for each in members}


def _check_count(stream: Stream, comment: bytes, found: int) -> None:
    """A damaged directory may hide members: its entries are as long as they say."""
    if comment:
        raise ValueError("it must end with its directory, got a comment after it")
    stream.seek(-_END_BYTES, os.SEEK_END)
    (count,) = struct.unpack_from("<H", _read(stream, _END_BYTES), 10)
    if count != found:
        raise ValueError(f"its directory must list {count} members, got {found}")


def _check_members(members: list[zipfile.ZipInfo], size: int, most_bytes: int) -> None:
    names: set[str] = set()
    sums = {zipfile.ZIP_STORED: 0, zipfile.ZIP_DEFLATED: 0}
    for each in members:
        if each.filename in names:
            raise ValueError(f"member {each.filename!r} must be there once, got two")
        names.add(each.filename)
        if not each.filename.endswith(".npy"):
            raise ValueError(f"member {each.filename!r} must be an array, <name>.npy")
        if each.compress_type not in sums or each.flag_bits & 1:
            raise ValueError(f"member {each.filename!r} is encrypted or compressed in another way")
        sums[each.compress_type] += each.file_size
    if sums[zipfile.ZIP_STORED] > size:
        raise ValueError(f"its members are larger than the file, which has {size} bytes")
    if sums[zipfile.ZIP_DEFLATED] > most_bytes:
        raise ValueError(
            f"its members must unpack to at most {most_bytes} bytes, "
            f"got {sums[zipfile.ZIP_DEFLATED]}"
        )


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    try:
        with archive.open(info) as stream:
            return _read_array(stream, info.file_size)
    except _DAMAGE as error:
        raise ValueError(f"member {info.filename!r}: {_reason(error)}") from error


def _read_array(stream: Stream, size: int) -> np.ndarray:
    layout = _read_layout(stream, size)
    raw = np.empty(layout.nbytes, np.uint8)
    for start in range(0, len(raw), _CHUNK):
        part = _read(stream, min(_CHUNK, len(raw) - start))
        raw[start : start + len(part)] = np.frombuffer(part, np.uint8)
    array = layout.arranged(raw.view(layout.dtype))
    _check_values(array)
    return array


def _map_array(stream: Stream, size: int) -> np.ndarray:
    layout = _read_layout(stream, size)
    # An empty range cannot be mapped.
    if not layout.nbytes:
        return np.empty(layout.shape, layout.dtype)
    flat = np.memmap(stream, layout.dtype, "r", layout.offset, (math.prod(layout.shape),))
    return layout.arranged(flat)


def _read_layout(stream: Stream, size: int) -> _Layout:
    """Reads a header; its array must fill the `size` bytes of the file."""
    magic = _read(stream, 8)
    if magic not in _LENGTHS:
        raise ValueError("it must begin like an NPY file of version 1 or 2")
    (length,) = _LENGTHS[magic].unpack(_read(stream, _LENGTHS[magic].size))
    if length > HEADER_BYTES:
        raise ValueError(f"its header must have at most {HEADER_BYTES} bytes, got {length}")
    offset = len(magic) + _LENGTHS[magic].size + length
    layout = _parse_header(_read(stream, length).decode("latin-1"), offset)
    if layout.nbytes != size - offset:
        raise ValueError(
            f"values of type {layout.dtype} and shape {layout.shape} take {layout.nbytes} bytes, "
            f"got {size - offset}"
        )
    return layout


def _parse_header(text: str, offset: int) -> _Layout:
    found = _HEADER.fullmatch(text)
    if found is None:
        raise ValueError(f"its header must describe an array of plain values, got {text[:200]!r}")
    name, order, axes = found.groups()
    shape = tuple(int(each) for each in re.findall(r"\d+", axes))
    try:
        dtype = np.dtype(name)
    except TypeError as error:
        raise ValueError(f"its type must be one of numpy's, got {name!r}") from error
    if not dtype.itemsize or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"no array has the type {name} and {len(shape)} axes")
    if 0 in shape and max(shape) > MAX_EMPTY_AXIS:
        raise ValueError(f"an array without values has the shape {shape}")
    return _Layout(dtype, shape, order == "True", offset)


def _check_values(array: np.ndarray) -> None:
    """Bytes that are no boolean and no character would surprise whoever uses them."""
    if array.dtype.kind == "b" and (array.view(np.uint8) > 1).any():
        raise ValueError("its values must be booleans, got bytes other than 0 and 1")
    if array.dtype.kind == "U":
        points = array.ravel().view(array.dtype.str[0] + "u4")
        if ((points > 0x10FFFF) | ((points >= 0xD800) & (points < 0xE000))).any():
            raise ValueError("its values must be strings, got numbers that are no characters")


def _read(stream: Stream, count: int) -> bytes:
    found = stream.read(count)
    if len(found) < count:
        raise ValueError("it is cut short")
    return found


def _reason(error: BaseException) -> str:
    # A MemoryError, for one, says nothing.
    return str(error) or type(error).__name__
