"""Strings of any length in HDF5 files, checked before HDF5 reads them.

They lie in heaps, and attributes say where and how long. HDF5 2.0 asks for as much memory as an
attribute says, up to 4 GiB, before it looks into the heap, and never returns from a damaged heap
whose free space is said to have no bytes.

References:
  Format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

MAX_LENGTH = 2**20
"""Of a string, in bytes; instructions have some dozens."""

_HEAP = b"GCOL\x01"
_LENGTH = struct.Struct("<Q")
_OBJECT = struct.Struct("<H6xQ")
# Version; sizes of name, type and shape, which follow each other.
_ATTRIBUTE = struct.Struct("<BxHHH")
_STARTS = {1: _ATTRIBUTE.size, 2: _ATTRIBUTE.size, 3: _ATTRIBUTE.size + 1}
_TEXT_LENGTH = struct.Struct("<I")


def check_strings(path: Path, name: str) -> None:
    """Raises a ValueError unless HDF5 can read attributes of this name that are strings."""
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        for place in _places(content, _HEAP):
            _walk(content, place)
        stored = name.encode() + b"\0"
        for place in _places(content, stored):
            for length in _text_lengths(content, place, len(stored)):
                if length > MAX_LENGTH:
                    raise ValueError(f"it must have at most {MAX_LENGTH} bytes, got {length}")


def _places(content: mmap.mmap, wanted: bytes) -> Iterator[int]:
    place = content.find(wanted)
    while place >= 0:
        yield place
        place = content.find(wanted, place + 1)


def _walk(content: mmap.mmap, place: int) -> None:
    """Goes from object to object of a heap, as HDF5 will."""
    start = place + 8
    if len(content) < start + _LENGTH.size:
        return
    end = place + _LENGTH.unpack_from(content, start)[0]
    here = start + _LENGTH.size
    # What is too short for another object is free.
    while here + _OBJECT.size <= min(end, len(content)):
        index, length = _OBJECT.unpack_from(content, here)
        # Free space, index 0, counts its own header; objects do not, and are padded to 8 bytes.
        taken = _OBJECT.size + (length + 7) // 8 * 8 if index else length
        if not _OBJECT.size <= taken <= end - here:
            raise ValueError(f"the heap at byte {place} is damaged")
        here += taken


def _text_lengths(content: mmap.mmap, place: int, size: int) -> Iterator[int]:
    """How long a string is said to be, if what lies at `place` is the name of an attribute."""
    for version, before in _STARTS.items():
        if place < before:
            continue
        found, *sizes = _ATTRIBUTE.unpack_from(content, place - before)
        if (found, sizes[0]) != (version, size):
            continue
        # The first version pads its parts.
        step = 8 if version == 1 else 1
        value = place + sum(-(-each // step) * step for each in sizes)
        if value + _TEXT_LENGTH.size <= len(content):
            yield from _TEXT_LENGTH.unpack_from(content, value)
