"""CRC-32C (Castagnoli), the checksum of TFRecord files, fast enough for gigabytes in numpy.

The CRC register is linear over GF(2): rows of the data advance side by side, then each row's
register is moved on by the length of a row and joined with the next one's.

Axes: R rows · W bytes of a row.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import UInt8, UInt32

POLYNOMIAL = 0x82F63B78
"""0x1EDC6F41 with its bits in the order in which data comes, the lowest first."""

_ROWS = 1024
_SMALL = 4096


def crc32c(data: bytes) -> int:
    """Returns the CRC-32C of `data`."""
    register, rest = 0xFFFFFFFF, data
    width = len(data) // _ROWS
    if len(data) >= _SMALL:
        whole = np.frombuffer(data, np.uint8, _ROWS * width).reshape(_ROWS, width)
        register, rest = _join(register, _advance_rows(whole), width), data[_ROWS * width :]
    table = _table().tolist()
    for byte in rest:
        register = register >> 8 ^ table[(register ^ byte) & 0xFF]
    return register ^ 0xFFFFFFFF


def _advance_rows(rows: UInt8[np.ndarray, "r w"]) -> UInt32[np.ndarray, " r"]:
    """The register of each row, started at 0."""
    table, registers = _table(), np.zeros(len(rows), np.uint32)
    for column in np.ascontiguousarray(rows.T):
        registers = registers >> np.uint32(8) ^ table[(registers ^ column) & np.uint32(0xFF)]
    return registers


def _join(register: int, rows: UInt32[np.ndarray, " r"], width: int) -> int:
    """Moves the register on by each row in turn."""
    a, b, c, d = _zeros(width)
    for row in rows.tolist():
        moved = a[register & 0xFF] ^ b[register >> 8 & 0xFF]
        moved ^= c[register >> 16 & 0xFF] ^ d[register >> 24]
        register = moved ^ row
    return register


@functools.lru_cache(maxsize=64)
def _zeros(width: int) -> tuple[list[int], ...]:
    """What `width` zero bytes make of a register, by each of its bytes."""
    table = _table()
    registers = (
        np.arange(256, dtype=np.uint32)[None] << np.arange(0, 32, 8, dtype=np.uint32)[:, None]
    )
    for _ in range(width):
        registers = registers >> np.uint32(8) ^ table[registers & np.uint32(0xFF)]
    return tuple(registers.tolist())


@functools.cache
def _table() -> UInt32[np.ndarray, "256"]:
    """What one byte makes of an empty register."""
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = values >> np.uint32(1) ^ np.where(values & 1, POLYNOMIAL, 0).astype(np.uint32)
    return values
