"""The heaps in which an HDF5 file keeps strings of any length, checked before HDF5 reads them.

HDF5 2.0 never returns from a damaged heap whose free space is said to have no bytes.

References:
  Format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_START = b"GCOL\x01"
_LENGTH = struct.Struct("<Q")
_OBJECT = struct.Struct("<H6xQ")


def check_heaps(path: Path) -> None:
    """Raises a ValueError unless one can walk through all heaps of a file that is not empty."""
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        place = content.find(_START)
        while place >= 0:
            _walk(content, place)
            place = content.find(_START, place + 1)


def _walk(content: mmap.mmap, place: int) -> None:
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
