"""TFRecord files and the tf.train.Example messages in them, read without TensorFlow.

A record is its length (uint64), the masked CRC-32C of that, the data, the masked CRC-32C of the
data, all little-endian. An Example is a protobuf message: features -> map from name to one of three
lists, of bytes, floats or int64s.

References:
  TFRecord: https://www.tensorflow.org/tutorials/load_data/tfrecord
  Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float32, Int64

Feature = list[bytes] | Float32[np.ndarray, " _"] | Int64[np.ndarray, " _"]

Content = memoryview | int | bytes
"""Of a field: a message or list as a view, a varint as an int, a number of fixed width as bytes."""

_HEADER, _FOOTER = struct.Struct("<QI"), struct.Struct("<I")
_EMPTY = memoryview(b"")
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5


def read_records(path: Path) -> Iterator[bytes]:
    """Yields the data of every record, in order.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if a record is cut short or its checksum is another; file and record are named.
    """
    with _opened(path) as stream:
        place = 0
        while (size := _read_length(stream, path, place)) is not None:
            yield _read_data(stream, size, path, place)
            place += 1


def read_record(path: Path, place: int) -> bytes:
    """Returns the data of one record; those before it are jumped over.

    Raises:
      FileNotFoundError: if there is no such file.
      IndexError: if it has fewer records.
      ValueError: as `read_records`.
    """
    with _opened(path) as stream:
        for before in range(place):
            size = _read_length(stream, path, before)
            if size is None:
                raise IndexError(f"{path} must have a record {place}, got only {before} records")
            _require_room(stream, size, path, before)
            stream.seek(size + _FOOTER.size, 1)
        size = _read_length(stream, path, place)
        if size is None:
            raise IndexError(f"{path} must have a record {place}, got only {place} records")
        return _read_data(stream, size, path, place)


def parse_example(data: bytes) -> dict[str, Feature]:
    """Returns the features of a tf.train.Example by name.

    Raises:
      ValueError: if the data is no such message.
    """
    found: dict[str, Feature] = {}
    for number, features in _fields(memoryview(data)):
        if number != 1:
            continue
        for _, entry in _fields(_message(features)):
            parts = dict(_fields(_message(entry)))
            name = bytes(_message(parts.get(1, _EMPTY))).decode()
            if name in found:
                raise ValueError(f"expected a tf.train.Example, got two lists {name!r}")
            found[name] = _feature(_message(parts.get(2, _EMPTY)))
    return found


def _opened(path: Path) -> BinaryIO:
    if not Path(path).is_file():
        raise FileNotFoundError(f"no TFRecord file at {path}")
    return Path(path).open("rb")


def _read_length(stream: BinaryIO, path: Path, place: int) -> int | None:
    """The size of the next record's data; None at the end of the file."""
    header = stream.read(_HEADER.size)
    if not header:
        return None
    if len(header) < _HEADER.size:
        raise ValueError(f"{path}: record {place} is cut short")
    size, checksum = _HEADER.unpack(header)
    if _checksum(header[:8]) != checksum:
        raise ValueError(f"{path}: record {place} is damaged: its length has another checksum")
    return size


def _read_data(stream: BinaryIO, size: int, path: Path, place: int) -> bytes:
    _require_room(stream, size, path, place)
    data, footer = stream.read(size), stream.read(_FOOTER.size)
    if _checksum(data) != _FOOTER.unpack(footer)[0]:
        raise ValueError(f"{path}: record {place} is damaged: its data has another checksum")
    return data


def _require_room(stream: BinaryIO, size: int, path: Path, place: int) -> None:
    """Nothing is asked for that the file is too short for."""
    if size + _FOOTER.size > os.fstat(stream.fileno()).st_size - stream.tell():
        raise ValueError(f"{path}: record {place} is cut short: it should have {size} bytes")


def _checksum(data: bytes) -> int:
    """The CRC-32C of `data`, masked as TFRecord files store it."""
    try:
        from google_crc32c import value as crc32c
    except ImportError as error:
        raise ImportError(
            'TFRecord files need google-crc32c; install it with: pip install "rfsq-jax[rlds]"'
        ) from error
    checksum = crc32c(data)
    rotated = (checksum >> 15 | checksum << 17) & 0xFFFFFFFF
    return (rotated + 0xA282EAD8) & 0xFFFFFFFF


def _feature(message: memoryview) -> Feature:
    """One of three lists; numbers are packed or not, as the writer liked."""
    for number, content in _fields(message):
        values = [value for _, value in _fields(_message(content))]
        if number == 1:
            return [bytes(_message(value)) for value in values]
        if number == 2:
            parts = [np.frombuffer(_floats(value), "<f4") for value in values]
            return np.concatenate([np.empty(0, np.float32), *parts])
        if number == 3:
            return np.asarray([each for value in values for each in _integers(value)], np.int64)
    return []


def _integers(value: Content) -> Iterator[int]:
    """Varints are unsigned on the wire; negative numbers come as their two's complement."""
    place = 0
    unsigned = [value] if isinstance(value, int) else []
    packed = _EMPTY if isinstance(value, int) else _message(value)
    while place < len(packed):
        number, place = _varint(packed, place)
        unsigned.append(number)
    return (each - (1 << 64) if each >> 63 else each for each in unsigned)


def _fields(message: memoryview) -> Iterator[tuple[int, Content]]:
    """Field numbers and contents of a message."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if kind == _DELIMITED:
            size, place = _varint(message, place)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"expected a tf.train.Example, got a field of wire type {kind}")
        if place + size > len(message):
            raise ValueError("expected a tf.train.Example, got a message that is cut short")
        content = message[place : place + size]
        yield key >> 3, content if kind == _DELIMITED else bytes(content)
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(message) or shift > 63:
            raise ValueError("expected a tf.train.Example, got a number that does not end")
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            break
    if value >> 64:
        raise ValueError("expected a tf.train.Example, got a number of more than 64 bits")
    return value, place


def _message(value: Content) -> memoryview:
    if not isinstance(value, memoryview):
        raise ValueError("expected a tf.train.Example, got a number where a message belongs")
    return value


def _floats(value: Content) -> memoryview | bytes:
    if isinstance(value, int) or len(value) % 4 or (isinstance(value, bytes) and len(value) != 4):
        raise ValueError("expected a tf.train.Example, got other numbers where floats belong")
    return value
