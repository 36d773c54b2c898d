"""Damage to .npy arrays, and to the zip archives that hold them or torch's storages."""

from __future__ import annotations

import functools
import io
import warnings
import zipfile
from collections.abc import Callable

import numpy as np
from numpy.lib import format as npy

from tests.fuzz.byte_mutators import BYTES, Mutator, Rng, random_bytes

BOMB_BYTES = 5 << 28
HUGE_SHAPES = ((10**12,), (10**6, 10**6), (2**62,), (2**40, 0), (1 << 31, 8), (-1,), (10**30,))
MAGIC = b"\x93NUMPY"


def save_array(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    """The bytes of a .npy file, objects included."""
    stream = io.BytesIO()
    npy.write_array(stream, array, version=version, allow_pickle=True)
    return stream.getvalue()


def load_array(content: bytes) -> np.ndarray:
    """The array of a .npy file."""
    return np.load(io.BytesIO(content), allow_pickle=False)


def header_of(array: np.ndarray, **changes: object) -> bytes:
    """The beginning of a .npy file, some of its entries others than the array's."""
    text = repr(npy.header_data_from_array_1_0(array) | changes).encode().ljust(117) + b"\n"
    return MAGIC + b"\x01\x00" + len(text).to_bytes(2, "little") + text


def _array(change: Callable[[Rng, np.ndarray], np.ndarray]) -> Mutator:
    def mutate(rng: Rng, content: bytes) -> bytes:
        with warnings.catch_warnings():
            # Numbers that do not fit another type are the point.
            warnings.simplefilter("ignore", RuntimeWarning)
            return save_array(change(rng, load_array(content)))

    return mutate


def _retype(rng: Rng, array: np.ndarray) -> np.ndarray:
    name = str(rng.choice(["f8", "f4", "f2", "i8", "i4", "u1", "?", "c16", "S8", "U4", ">f4"]))
    return array.astype(name)


def _reshape(rng: Rng, array: np.ndarray) -> np.ndarray:
    shapes = (array.ravel(), array[None], array[..., None], array.T, array.ravel()[:1].reshape(()))
    return shapes[int(rng.integers(len(shapes)))]


def _revalue(rng: Rng, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiu" or not array.size:
        return array.ravel()[:0].reshape(0, *array.shape[1:])
    changed = array.copy()
    values = [0, 1, -1, 100] if array.dtype.kind != "f" else [np.nan, np.inf, -np.inf, 1e30, -1, 0]
    value = np.asarray(values[int(rng.integers(len(values)))]).astype(array.dtype)
    if rng.random() < 0.5:
        changed[...] = value
    else:
        changed.flat[int(rng.integers(array.size))] = value
    return changed


def _resize(rng: Rng, array: np.ndarray) -> np.ndarray:
    rows = np.atleast_1d(array)
    return rows[:-1] if rng.random() < 0.5 else np.concatenate([rows, rows[:1]])


def _huge(rng: Rng, content: bytes) -> bytes:
    array = load_array(content)
    shape = HUGE_SHAPES[int(rng.integers(len(HUGE_SHAPES)))]
    return header_of(array, shape=shape) + array.tobytes()


def _deep_header(rng: Rng, content: bytes) -> bytes:
    text = b"(" * 9000 + b")" * 900 + b"\n"
    return MAGIC + b"\x01\x00" + len(text).to_bytes(2, "little") + text


NPY: dict[str, Mutator] = {
    "change an array's type": _array(_retype),
    "change an array's shape": _array(_reshape),
    "change an array's values": _array(_revalue),
    "change an array's length": _array(_resize),
    "array of objects": _array(lambda rng, array: np.array([{"a": 1}, None], object)),
    "array of records": _array(lambda rng, array: np.zeros(3, "f4,i4")),
    "huge declared shape": _huge,
    "deep header": _deep_header,
}


@functools.cache
def bomb() -> bytes:
    """An archive of a few megabytes whose one array of zeros takes BOMB_BYTES."""
    stream, zeros = io.BytesIO(), bytes(1 << 24)
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("actions.npy", "w") as member,
    ):
        member.write(header_of(np.zeros(1, np.float32), shape=(BOMB_BYTES // 4,)))
        for _ in range(BOMB_BYTES >> 24):
            member.write(zeros)
    return stream.getvalue()


Members = list[tuple[str, bytes]]


def read_members(content: bytes) -> tuple[Members, int]:
    """Names and contents of an archive's members, and how they are packed."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = archive.infolist()
        return [(each.filename, archive.read(each)) for each in infos], infos[0].compress_type


def write_members(members: Members, compression: int) -> bytes:
    """An archive; members may have the same name."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", compression) as archive:
        warnings.filterwarnings("ignore", "Duplicate name", UserWarning)
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return stream.getvalue()


def _members(change: Callable[[Rng, Members, int], None]) -> Mutator:
    def mutate(rng: Rng, content: bytes) -> bytes:
        members, compression = read_members(content)
        change(rng, members, int(rng.integers(len(members))))
        return write_members(members, compression)

    return mutate


def _in_member(rng: Rng, members: Members, index: int) -> None:
    name, content = members[index]
    mutators = list((NPY if content.startswith(MAGIC) and rng.random() < 0.8 else BYTES).values())
    members[index] = (name, mutators[int(rng.integers(len(mutators)))](rng, content))


def _add_member(rng: Rng, members: Members, index: int) -> None:
    names = ("another.npy", "../../above.npy", "/root.npy", "a/0/1/b.npy", "no_array", "0.npy")
    name = names[int(rng.integers(len(names)))]
    members.append((name, members[index][1] if rng.random() < 0.5 else random_bytes(rng, 30)))


def _rename_member(rng: Rng, members: Members, index: int) -> None:
    members[index] = (f"x{members[index][0]}", members[index][1])


def _swap_members(rng: Rng, members: Members, index: int) -> None:
    other = int(rng.integers(len(members)))
    (one, first), (two, second) = members[index], members[other]
    members[index], members[other] = (one, second), (two, first)


def _repack(rng: Rng, content: bytes) -> bytes:
    members, _ = read_members(content)
    return write_members(members, [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2][int(rng.integers(2))])


ZIP: dict[str, Mutator] = {
    "change a member": _members(_in_member),
    "change a member's bytes or array": _members(_in_member),
    "add a member": _members(_add_member),
    "rename a member": _members(_rename_member),
    "remove a member": _members(lambda rng, members, index: members.__delitem__(index)),
    "repeat a member": _members(lambda rng, members, index: members.append(members[index])),
    "swap members": _members(_swap_members),
    "pack otherwise": _repack,
    "zip bomb": lambda rng, content: bomb(),
}
