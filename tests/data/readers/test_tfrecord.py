"""TFRecord files, read beside other people's writers."""

import contextlib
import struct
import sys

import numpy as np
import pytest
from google_crc32c import value as crc32c
from hypothesis import given
from hypothesis import strategies as st

from rfsq_jax.data.readers.tfrecord import parse_example, read_record, read_records
from tests.support.rlds_folders import encode_example, write_records


def masked_crc32c(data: bytes) -> int:
    checksum = crc32c(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


@given(records=st.lists(st.binary(max_size=200), max_size=5))
def test_records_come_back(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("records") / "some.tfrecord"
    write_records(path, records)
    assert list(read_records(path)) == records
    assert [read_record(path, place) for place in range(len(records))] == records
    with pytest.raises(IndexError, match=f"record {len(records)}, got only {len(records)}"):
        read_record(path, len(records))


@given(
    strings=st.lists(st.binary(max_size=20), min_size=1, max_size=4),
    floats=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4),
    integers=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4),
)
def test_examples_come_back(strings, floats, integers):
    data = encode_example({"a/b": strings, "ä": floats, "i": integers})
    found = parse_example(data)
    assert found["a/b"] == strings
    np.testing.assert_array_equal(found["ä"], np.asarray(floats, np.float32))
    np.testing.assert_array_equal(found["i"], np.asarray(integers, np.int64))
    assert set(found) == {"a/b", "ä", "i"}


def test_numbers_may_be_stored_one_by_one():
    """Writers of the older protobuf syntax do not pack numbers."""

    def message(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    floats = b"".join(bytes([1 << 3 | 5]) + struct.pack("<f", each) for each in (1.5, -2.0))
    integers = bytes([1 << 3, 7]) + bytes([1 << 3, 0xAC, 0x02])
    entries = [
        message(1, message(1, b"f") + message(2, message(2, floats))),
        message(1, message(1, b"i") + message(2, message(3, integers))),
    ]
    found = parse_example(message(1, b"".join(entries)))
    np.testing.assert_array_equal(found["f"], np.array([1.5, -2.0], np.float32))
    np.testing.assert_array_equal(found["i"], [7, 300])


@given(data=st.binary(max_size=60))
def test_other_bytes_are_no_example_or_are_refused(data):
    """Nothing but a ValueError comes of bytes that are no message."""
    with contextlib.suppress(ValueError):
        parse_example(data)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some.tfrecord"
    write_records(path, [b"first" * 5, b"second" * 1000])
    return path


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (0, "record 0 is damaged: its length"),
        (20, "record 0 is damaged: its data"),
        (45, "record 1 is damaged: its length"),
        (3000, "record 1 is damaged: its data"),
        (-1, "record 1 is damaged: its data"),
    ],
)
def test_an_altered_byte_is_named(file, place, message):
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"some\.tfrecord: {message}"):
        list(read_records(file))


@pytest.mark.parametrize("kept", [5, 20, 38, 45, 100, 6056])
def test_a_file_cut_short_is_named(file, kept):
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"some\.tfrecord: record [01] is cut short"):
        list(read_records(file))


def test_a_length_is_believed_only_with_its_checksum(file):
    """A file of something else must not make the reader ask for exabytes."""
    file.write_bytes(b"\x89PNG\r\n\x1a\n and so on, and so on")
    with pytest.raises(ValueError, match="record 0 is damaged: its length"):
        list(read_records(file))


@pytest.mark.parametrize("size", [31, 2**40, 2**60, 2**64 - 1])
def test_a_length_beyond_the_file_is_refused_before_it_is_read(file, size):
    """Its checksum may be right all the same."""
    length = struct.pack("<Q", size)
    file.write_bytes(length + struct.pack("<I", masked_crc32c(length)) + bytes(34))
    for read in (lambda: list(read_records(file)), lambda: read_record(file, 1)):
        with pytest.raises(ValueError, match=rf"record 0 is cut short: it should have {size}"):
            read()


def field(number, content, kind=2):
    """A protobuf field: a message or list, unless it is of another wire type."""
    return bytes([number << 3 | kind]) + (bytes([len(content)]) if kind == 2 else b"") + content


def one_list(content, name=b"f"):
    """An Example of one feature."""
    return field(1, field(1, field(1, name) + field(2, content)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (one_list(field(3, field(1, b"\xff" * 9 + b"\x02", kind=0))), "more than 64 bits"),
        (one_list(field(3, field(1, b"\xff" * 9 + b"\x7f"))), "more than 64 bits"),
        (one_list(field(3, field(1, b"\xff" * 11))), "number that does not end"),
        (one_list(field(3, field(1, bytes(8), kind=1))), "number where a message belongs"),
        (one_list(field(2, field(1, bytes(8), kind=1))), "other numbers where floats belong"),
        (one_list(field(2, field(1, b"\x01", kind=0))), "other numbers where floats belong"),
        (one_list(field(2, field(1, bytes(7)))), "other numbers where floats belong"),
        (one_list(field(1, field(1, b"\x01", kind=0))), "number where a message belongs"),
        (one_list(field(1, field(1, b"", kind=3))), "field of wire type 3"),
        (one_list(field(1, field(1, b"a")), name=b"\xff"), "can't decode byte"),
        (field(1, one_list(b"")[2:] * 2), "two lists 'f'"),
        (field(1, b"\x01", kind=0), "number where a message belongs"),
    ],
)
def test_messages_of_other_kinds_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        parse_example(data)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no TFRecord file at .*nowhere"):
        list(read_records(tmp_path / "nowhere"))


def test_a_missing_library_names_its_extra(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    with pytest.raises(ImportError, match=r"rfsq-jax\[rlds\]"):
        list(read_records(file))
