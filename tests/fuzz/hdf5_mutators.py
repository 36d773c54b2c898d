"""Damage to HDF5 files that HDF5 itself finds nothing wrong with."""

from __future__ import annotations

import io
from collections.abc import Callable

import h5py
import numpy as np

from tests.fuzz.byte_mutators import Mutator, Rng

ELSEWHERE = "/etc/hostname"
HUGE = 10**10


def _edit(change: Callable[[Rng, h5py.File], None]) -> Mutator:
    def mutate(rng: Rng, content: bytes) -> bytes:
        stream = io.BytesIO(content)
        with h5py.File(stream, "r+") as file:
            change(rng, file)
        return stream.getvalue()

    return mutate


def _paths(file: h5py.File, kind: type) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, kind) else None)
    return found


def _choose(rng: Rng, names: list[str]) -> str:
    return names[int(rng.integers(len(names)))]


def _array(change: Callable[[Rng, np.ndarray], np.ndarray]) -> Mutator:
    """Writes another array in the place of one."""

    def edit(rng: Rng, file: h5py.File) -> None:
        name = _choose(rng, _paths(file, h5py.Dataset))
        values = np.asarray(file[name])
        del file[name]
        file[name] = change(rng, values)

    return _edit(edit)


def _revalue(rng: Rng, values: np.ndarray) -> np.ndarray:
    changed = values.copy()
    bad = [np.nan, np.inf, -np.inf, 1e30, 2.0] if values.dtype.kind == "f" else [0, 1, 255]
    changed.flat[int(rng.integers(changed.size))] = bad[int(rng.integers(len(bad)))]
    return changed


def _retype(rng: Rng, values: np.ndarray) -> np.ndarray:
    name = _choose(rng, ["f4", "f2", "i4", "u1", "S6", ">f8", "c16"])
    return np.nan_to_num(values).astype(name)


def _reshape(rng: Rng, values: np.ndarray) -> np.ndarray:
    shapes = (values.ravel(), values[None], values[..., None], values.T, values[:0], values[:-1])
    return shapes[int(rng.integers(len(shapes)))]


def _replace(put: Callable[[h5py.File, str], None]) -> Mutator:
    """Puts something else in the place of any group or array."""

    def edit(rng: Rng, file: h5py.File) -> None:
        name = _choose(rng, _paths(file, h5py.HLObject))
        del file[name]
        put(file, name)

    return _edit(edit)


def _link(make: Callable[[str], object]) -> Mutator:
    def put(file: h5py.File, name: str) -> None:
        file[name] = make(name)

    return _replace(put)


def _empty_group(file: h5py.File, name: str) -> None:
    file.create_group(name)


def _stored_elsewhere(file: h5py.File, name: str) -> None:
    file.create_dataset(name, (4, 7), "u1", external=[(ELSEWHERE, 0, 28)])


def _huge(file: h5py.File, name: str) -> None:
    file.create_dataset(name, (HUGE, 7), "f8", chunks=(1024, 7))


def _huge_images(file: h5py.File, name: str) -> None:
    file.create_dataset(name, (4, 60_000, 60_000, 3), "u1", chunks=(1, 64, 64, 3))


def _attribute(rng: Rng, file: h5py.File) -> None:
    holders = [name for name in _paths(file, h5py.HLObject) if len(file[name].attrs)]
    if not holders:
        return
    attributes = file[_choose(rng, holders)].attrs
    name = _choose(rng, list(attributes))
    others = (-1, 2**40, "text", b"\xff\xfe", np.nan, np.zeros((2, 2)), h5py.Empty("f4"), 0.5, "")
    if rng.random() < 0.3:
        del attributes[name]
    else:
        attributes[name] = others[int(rng.integers(len(others)))]


def _rename(rng: Rng, file: h5py.File) -> None:
    name = _choose(rng, _paths(file, h5py.HLObject))
    parent, _, last = name.rpartition("/")
    other = _choose(rng, [f"{last}x", "demo_", "demo_x", "demo_-1", "demo_007", "demo_\u00b2"])
    place = f"{parent}/{other}" if parent else other
    if place not in file:
        file.move(name, place)


HDF5: dict[str, Mutator] = {
    "change an array's values": _array(_revalue),
    "change an array's type": _array(_retype),
    "change an array's shape": _array(_reshape),
    "array of text": _array(lambda rng, values: np.array([b"a", b"bc"])),
    "array of one number": _array(lambda rng, values: np.array(3.0)),
    "remove a part": _replace(lambda file, name: None),
    "empty group": _replace(_empty_group),
    "array without data": _link(lambda name: h5py.Empty("f8")),
    "link to a missing part": _link(lambda name: h5py.SoftLink("/nowhere")),
    "link to itself": _link(lambda name: h5py.SoftLink(f"/{name}")),
    "link to the root": _link(lambda name: h5py.SoftLink("/")),
    "link to another file": _link(lambda name: h5py.ExternalLink("elsewhere.hdf5", "/data")),
    "link to a file by path": _link(lambda name: h5py.ExternalLink(ELSEWHERE, "/")),
    "array stored elsewhere": _replace(_stored_elsewhere),
    "huge array without data": _replace(_huge),
    "huge images without data": _replace(_huge_images),
    "change an attribute": _edit(_attribute),
    "change another attribute": _edit(_attribute),
    "rename a part": _edit(_rename),
}
