"""Chooses what is done to which file of a folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping

from tests.fuzz.array_mutators import MAGIC, NPY, ZIP
from tests.fuzz.byte_mutators import BYTES, Mutator, Rng
from tests.fuzz.container_mutators import PNG, PNG_START, SAFETENSORS, TFRECORD, TORCH
from tests.fuzz.hdf5_mutators import HDF5
from tests.fuzz.instances import Damage, Files, Special
from tests.fuzz.json_mutators import JSON, LINES

FOLDER_SHARE, FORGED_SHARE, BYTES_SHARE = 0.12, 0.1, 0.4
ATTEMPTS = 20
CHECKSUMS_WITHIN = (TFRECORD, PNG)
"""Damage of these kinds writes the file's own checksums anew."""

FolderMutator = Callable[[Rng, Files, Mapping[str, bytes], str], None]


def damage(rng: Rng, files: Mapping[str, bytes], other: Mapping[str, bytes]) -> Damage:
    """Damages a folder at one place.

    Args:
      rng: decides all.
      files: a valid folder.
      other: another valid folder of the same format.
    """
    for _ in range(ATTEMPTS):
        path = _choose(rng, sorted(files))
        found = _any(rng, dict(files), other, path)
        if found.files != files:
            return found
    raise AssertionError(f"no mutator changes any of {sorted(files)}")


def structured(path: str, content: bytes) -> dict[str, Mutator]:
    """The mutators that know a file's format; none for a format that nobody knows."""
    tables = {
        b"PK\x03": {**ZIP, **(TORCH if path.endswith(".pt") else {})},
        MAGIC: NPY,
        b"\x89HDF": HDF5,
        PNG_START: PNG,
    }
    for start, table in tables.items():
        if content.startswith(start):
            return table
    suffixes = {".safetensors": SAFETENSORS, ".jsonl": LINES, ".pt": TORCH}
    for suffix, table in suffixes.items():
        if path.endswith(suffix):
            return table
    if ".tfrecord" in path:
        return TFRECORD
    return JSON if _is_json(content) else {}


def _any(rng: Rng, files: Files, other: Mapping[str, bytes], path: str) -> Damage:
    if rng.random() < FOLDER_SHARE:
        name = _choose(rng, list(FOLDERS))
        FOLDERS[name](rng, files, other, path)
        return Damage(files, name, path)
    content = files[path]
    assert isinstance(content, bytes)
    table = structured(path, content)
    if not table or rng.random() < BYTES_SHARE:
        table = BYTES
    name = _choose(rng, list(table))
    files[path] = changed = table[name](rng, content)
    found = Damage(files, name, path, forged=table in CHECKSUMS_WITHIN)
    return _forge(found, content, changed) if rng.random() < FORGED_SHARE else found


def _forge(found: Damage, content: bytes, changed: bytes) -> Damage:
    """Writes the hash of the changed file wherever the folder holds that of the old one."""
    old, new = (hashlib.sha256(each).hexdigest().encode() for each in (content, changed))
    files: Files = {
        path: each.replace(old, new) if isinstance(each, bytes) else each
        for path, each in found.files.items()
    }
    if files == found.files:
        return found
    name = f"{found.mutator}, hash made to fit"
    return dataclasses.replace(found, files=files, mutator=name, forged=True)


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def _choose(rng: Rng, names: list[str]) -> str:
    return names[int(rng.integers(len(names)))]


def _remove(rng: Rng, files: Files, other: Mapping[str, bytes], path: str) -> None:
    del files[path]


def _swap(rng: Rng, files: Files, other: Mapping[str, bytes], path: str) -> None:
    second = _choose(rng, sorted(files))
    files[path], files[second] = files[second], files[path]


def _mix(rng: Rng, files: Files, other: Mapping[str, bytes], path: str) -> None:
    """Takes a file of the other folder; its name may differ."""
    files[path] = other[path] if path in other else other[_choose(rng, sorted(other))]


def _mix_folder(rng: Rng, files: Files, other: Mapping[str, bytes], path: str) -> None:
    """Takes a whole folder within the other one."""
    parent = path.rpartition("/")[0]
    if parent:
        for name in [name for name in files if name.startswith(f"{parent}/")]:
            del files[name]
        files |= {name: each for name, each in other.items() if name.startswith(f"{parent}/")}


def _special(kind: Special) -> FolderMutator:
    def mutate(rng: Rng, files: Files, other: Mapping[str, bytes], path: str) -> None:
        files[path] = kind

    return mutate


FOLDERS: dict[str, FolderMutator] = {
    "remove a file": _remove,
    "swap two files": _swap,
    "file of another instance": _mix,
    "folder of another instance": _mix_folder,
    **{f"{each.value} for a file": _special(each) for each in Special},
}
