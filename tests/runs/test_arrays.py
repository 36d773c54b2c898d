"""Arrays come back as numpy wrote them; whatever else a file says is one error that names it."""

from __future__ import annotations

import io
import os
import random
import struct
import zipfile

import numpy as np
import pytest

from rfsq_jax.runs import arrays
from rfsq_jax.runs.arrays import read_npy, read_npz

PLAIN = {
    "matrix": np.arange(6.0).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
    "scalar": np.array(3, np.uint8),
    "half": np.ones(5, np.float16),
    "switches": np.array([True, False]),
    "words": np.array(["", "öffne", "\U0001f916"]),
    "bytes": np.array([b"ab"]),
    "none": np.zeros((0, 7)),
    "level/0": np.zeros((1, 2, 3), np.int64),
}


def npy(header: str, values: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """An npy file with any header."""
    form = "<H" if version == b"\x01\x00" else "<I"
    text = header.encode()
    return b"\x93NUMPY" + version + struct.pack(form, len(text)) + text + values


def described(kind: str, shape: str, order: str = "False") -> str:
    return f"{{'descr': {kind!r}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def npz(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_gives_back_every_array(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, **PLAIN)
    for found in (read_npz(path), read_npz(path, path.read_bytes())):
        assert found.keys() == PLAIN.keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, PLAIN[name], strict=True)
            assert array.flags.writeable


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("name", sorted(PLAIN.keys() - {"level/0"}))
def test_an_npy_gives_back_its_array(tmp_path, name, mmap):
    path = tmp_path / "a.npy"
    np.save(path, PLAIN[name])
    np.testing.assert_array_equal(read_npy(path, mmap=mmap), PLAIN[name], strict=True)


BAD_ARRAYS = {
    "nothing": b"",
    "magic": b"no array at all",
    "version": npy(described("<f8", "(1,)"), bytes(8), b"\x03\x00"),
    "header cut": npy(described("<f8", "(1,)"))[:20],
    "header long": npy(" " * 10_001),
    "header nested": npy("{" * 9000),
    "header brackets": npy("(" * 9000),
    "objects": npy(described("|O", "(1,)"), bytes(8)),
    "dates": npy(described("<M8[ns]", "(1,)"), bytes(8)),
    "structure": npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }"),
    "no type": npy(described("<f3", "(1,)"), bytes(3)),
    "no size": npy(described("<U0", "(9999999999,)")),
    "huge": npy(described("<f8", "(1152921504606846976,)")),
    "overflow": npy(described("<f8", "(4294967296, 4294967296, 4294967296)")),
    "digits": npy(described("<f8", f"({'9' * 5000},)")),
    "negative": npy(described("<f8", "(-1,)"), bytes(8)),
    "axes": npy(described("<f8", f"({'1, ' * 65})"), bytes(8)),
    "empty but long": npy(described("<f8", "(1152921504606846976, 0)")),
    "short": npy(described("<f8", "(2,)"), bytes(15)),
    "long": npy(described("<f8", "(2,)"), bytes(17)),
    "order": npy(described("<f8", "(1,)", "2"), bytes(8)),
    "booleans": npy(described("|b1", "(2,)"), b"\x01\x02"),
    "characters": npy(described("<U1", "(1,)"), b"\xff\xff\xff\x7f"),
    "surrogates": npy(described("<U1", "(1,)"), b"\x00\xd8\x00\x00"),
}


@pytest.mark.parametrize("content", BAD_ARRAYS.values(), ids=BAD_ARRAYS.keys())
def test_an_npy_that_is_none_is_named(tmp_path, content):
    path = tmp_path / "bad.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.npy is not a whole NPY file of a plain array: .+"):
        read_npy(path)
    path = tmp_path / "bad.npz"
    path.write_bytes(npz(("good.npy", npy(described("|u1", "(0,)"))), ("inner.npy", content)))
    with pytest.raises(ValueError, match=r"bad\.npz is not a whole NPZ .* member 'inner\.npy': .+"):
        read_npz(path)


@pytest.mark.parametrize(
    "name", sorted(BAD_ARRAYS.keys() - {"booleans", "characters", "surrogates"})
)
def test_a_mapped_npy_is_checked_too(tmp_path, name):
    path = tmp_path / "bad.npy"
    path.write_bytes(BAD_ARRAYS[name])
    with pytest.raises(ValueError, match=r"bad\.npy is not a whole NPY"):
        read_npy(path, mmap=True)


def test_members_twice_of_other_kinds_or_packed_otherwise_are_refused(tmp_path):
    path, whole = tmp_path / "bad.npz", npy(described("|u1", "(0,)"))
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = npz(("a.npy", whole), ("a.npy", whole))
    refused = {
        "'a.npy' must be there once": twice,
        "'a.txt' must be an array": npz(("a.txt", whole)),
        "'a.npy' is encrypted or": npz(("a.npy", whole), compression=zipfile.ZIP_LZMA),
    }
    for message, content in refused.items():
        with pytest.raises(ValueError, match=f"bad.npz .*{message}"):
            read_npz(path, content)


def test_what_unpacks_to_too_much_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, a=np.zeros(2**22), b=np.zeros(2**22))
    with pytest.raises(ValueError, match=r"bomb.npz .*must unpack to at most 50000000 bytes, got"):
        read_npz(path, most_bytes=50_000_000)
    assert len(read_npz(path)) == 2


def test_sizes_that_the_file_cannot_hold_take_no_memory(tmp_path, monkeypatch):
    one = npy(described("<f8", "(1,)"), bytes(8))
    claimed = npz(("a.npy", one)).replace(struct.pack("<I", len(one)), struct.pack("<I", 2**31))
    monkeypatch.setattr(arrays.np, "empty", lambda *_: pytest.fail("memory was asked for"))
    for content in (claimed, npz(("a.npy", npy(described("<f8", "(1073741824,)"))))):
        with pytest.raises(ValueError, match=r"huge\.npz is not a whole NPZ"):
            read_npz(tmp_path / "huge.npz", content)


def test_any_damage_is_an_error_or_changes_nothing(tmp_path):
    """A zip's own fields, such as dates, carry no content; the arrays have checksums."""
    buffer, numbers = io.BytesIO(), random.Random(0)
    np.savez_compressed(buffer, **PLAIN)
    for _ in range(1500):
        damaged = bytearray(buffer.getvalue())
        for _ in range(numbers.choice([1, 1, 3])):
            damaged[numbers.randrange(len(damaged))] = numbers.randrange(256)
        try:
            found = read_npz(tmp_path / "x.npz", bytes(damaged))
        except ValueError as error:
            assert "x.npz is not a whole NPZ file of plain arrays: " in str(error)  # noqa: PT017
        else:
            assert found.keys() == PLAIN.keys()
            for name, array in found.items():
                np.testing.assert_array_equal(array, PLAIN[name], strict=True)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    for read in (read_npz, read_npy):
        with pytest.raises(FileNotFoundError, match="none"):
            read(tmp_path / "none")


def test_folders_pipes_and_links_in_a_circle_are_no_files(tmp_path):
    """To open a pipe that nobody writes to would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    for name in ("pipe", "circle", "."):
        for read in (read_npz, read_npy):
            with pytest.raises(ValueError, match="must be a regular file"):
                read(tmp_path / name)
