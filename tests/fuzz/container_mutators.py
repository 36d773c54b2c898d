"""Damage within TFRecord, safetensors, PNG and torch files; lengths and checksums still fit."""

from __future__ import annotations

import json
import pickle
import struct
import zlib
from collections.abc import Callable

from google_crc32c import value as crc32c

from tests.fuzz.array_mutators import read_members, write_members
from tests.fuzz.byte_mutators import BYTES, Mutator, Rng
from tests.fuzz.json_mutators import JSON

PNG_START = b"\x89PNG\r\n\x1a\n"
PICTURE_SIZES = (0, 1, 7, 9, 1000, 9000, 13_000, 60_000, 2**31 - 1)
COLLISIONS = 40_000
CALLS = b"\x80\x02cos\nsystem\nU\x04true\x85R."


def _any_bytes(rng: Rng, content: bytes) -> bytes:
    mutators = list(BYTES.values())
    return mutators[int(rng.integers(len(mutators)))](rng, content)


def read_framed(content: bytes) -> list[bytes]:
    """The records of a TFRecord file."""
    records = []
    while content:
        size = int.from_bytes(content[:8], "little")
        records.append(content[12 : 12 + size])
        content = content[16 + size :]
    return records


def write_framed(records: list[bytes]) -> bytes:
    """A TFRecord file."""
    return b"".join(_frame(each) for each in records)


def _frame(record: bytes) -> bytes:
    size = struct.pack("<Q", len(record))
    return size + _masked(size) + record + _masked(record)


def _masked(data: bytes) -> bytes:
    checksum = crc32c(data)
    rotated = (checksum >> 15 | checksum << 17) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + 0xA282EAD8) & 0xFFFFFFFF)


def _records(change: Callable[[Rng, list[bytes], int], None]) -> Mutator:
    def mutate(rng: Rng, content: bytes) -> bytes:
        records = read_framed(content)
        change(rng, records, int(rng.integers(len(records))))
        return write_framed(records)

    return mutate


def _change_record(rng: Rng, records: list[bytes], index: int) -> None:
    records[index] = _any_bytes(rng, records[index])


def _swap_records(rng: Rng, records: list[bytes], index: int) -> None:
    records[index], records[0] = records[0], records[index]


TFRECORD: dict[str, Mutator] = {
    "change a record": _records(_change_record),
    "change a record's bytes": _records(_change_record),
    "drop a record": _records(lambda rng, records, index: records.__delitem__(index)),
    "repeat a record": _records(lambda rng, records, index: records.append(records[index])),
    "swap records": _records(_swap_records),
    "huge declared record": lambda rng, content: (
        (size := struct.pack("<Q", 1 << 40)) + _masked(size) + content
    ),
}


def _header(mutate: Mutator) -> Mutator:
    """Changes the header of a safetensors file, and its length with it."""

    def change(rng: Rng, content: bytes) -> bytes:
        end = 8 + int.from_bytes(content[:8], "little")
        header = mutate(rng, content[8:end])
        return len(header).to_bytes(8, "little") + header + content[end:]

    return change


def _overlap(rng: Rng, header: bytes) -> bytes:
    """Gives one tensor the bytes of another."""
    table = json.loads(header)
    names = [name for name in table if name != "__metadata__"]
    first, second = rng.choice(names, 2)
    table[first] = table[second]
    return json.dumps(table).encode()


SAFETENSORS: dict[str, Mutator] = {
    **{f"{name} in the header": _header(mutate) for name, mutate in JSON.items()},
    "overlap tensors": _header(_overlap),
    "gap before the data": lambda rng, content: (
        _header(lambda _, header: header)(rng, content) + bytes(8)
    ),
}


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _resize_picture(rng: Rng, content: bytes) -> bytes:
    """Writes another size, kind of pixels or packing into the first chunk."""
    fields = list(struct.unpack(">IIBBBBB", content[16:29]))
    index = int(rng.integers(7))
    if index < 2:
        fields[index] = int(rng.choice(PICTURE_SIZES))
    else:
        fields[index] = int(rng.integers(256))
    return PNG_START + _chunk(b"IHDR", struct.pack(">IIBBBBB", *fields)) + content[33:]


def _picture_bomb(rng: Rng, content: bytes) -> bytes:
    """All zeros, at either side of the size from which PIL warns."""
    side = int(rng.choice([9_000, 13_000, 18_000]))
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    data = zlib.compress(bytes(1 << 20))
    return PNG_START + header + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _text_chunk(rng: Rng, content: bytes) -> bytes:
    packed = zlib.compress(bytes(1 << 27), 1)
    return content[:33] + _chunk(b"zTXt", b"words\x00\x00" + packed) + content[33:]


PNG: dict[str, Mutator] = {
    "other size or pixels": _resize_picture,
    "picture bomb": _picture_bomb,
    "bomb of words": _text_chunk,
}


def colliding_keys() -> bytes:
    """A pickle of a dict of whole numbers that all have one hash."""
    step = (1 << 61) - 1
    keys = (pickle.encode_long(index * step) for index in range(1, COLLISIONS + 1))
    items = (pickle.LONG1 + bytes([len(key)]) + key + pickle.NONE for key in keys)
    start = pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK
    return start + b"".join(items) + pickle.SETITEMS + pickle.STOP


def _other_pickle(make: Callable[[Rng, bytes], bytes]) -> Mutator:
    """Changes the pickle within a zip of torch.save; of the older format the whole."""

    def mutate(rng: Rng, content: bytes) -> bytes:
        if not content.startswith(b"PK"):
            return make(rng, content)
        members, compression = read_members(content)
        changed = [
            (name, make(rng, each) if name.endswith("data.pkl") else each) for name, each in members
        ]
        return write_members(changed, compression)

    return mutate


def _change_number(rng: Rng, content: bytes) -> bytes:
    """Changes a one-byte number: sizes, shapes, strides and memo indices."""
    places = [index for index, code in enumerate(content[:-1]) if code == pickle.BININT1[0]]
    if not places:
        return content
    index = places[int(rng.integers(len(places)))]
    return content[: index + 1] + bytes([int(rng.integers(256))]) + content[index + 2 :]


TORCH: dict[str, Mutator] = {
    "change the pickle": _other_pickle(_any_bytes),
    "change a number in the pickle": _other_pickle(_change_number),
    "pickle that calls": _other_pickle(lambda rng, content: CALLS),
    "colliding keys": _other_pickle(lambda rng, content: colliding_keys()),
    "deep pickle": _other_pickle(lambda rng, content: b"\x80\x02" + b"]" * 9 + b"(l" * 10**5),
}
