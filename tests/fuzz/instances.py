"""Folders in memory: what is damaged, and what a damaged one is written to."""

from __future__ import annotations

import dataclasses
import enum
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")
PREFIX, FOLDER = "rfsq-jax-fuzz-", "instance"


class Special(enum.Enum):
    """What may lie where a file is expected."""

    FOLDER = "a folder"
    LOOP = "a symbolic link to itself"
    FIFO = "a pipe that nobody writes to"


Files = dict[str, "bytes | Special"]
"""By the path within the folder."""


@dataclasses.dataclass(frozen=True)
class Damage:
    """A damaged folder.

    Attributes:
      files: the whole folder.
      mutator: what was done.
      path: the file that it was done to.
      forged: whether the checksums were made to fit, so that none can tell.
    """

    files: Files
    mutator: str
    path: str
    forged: bool = False


def make_files(make: Callable[[Path, int], object], seed: int) -> dict[str, bytes]:
    """What `make` writes."""
    with scratch_folder() as folder:
        make(folder, seed)
        return read_files(folder)


def read_files(folder: Path) -> dict[str, bytes]:
    """All files of a folder, sorted by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def write_files(folder: Path, files: Files) -> None:
    """Writes a folder as it says."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is Special.FOLDER:
            path.mkdir()
        elif content is Special.LOOP:
            path.symlink_to(path.name)
        else:
            os.mkfifo(path)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder below Python's folder for temporary files; it is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as temporary:
        folder = Path(temporary) / FOLDER
        folder.mkdir()
        yield folder


@contextmanager
def scratch_root() -> Iterator[str]:
    """Where workers make theirs, in memory where the system allows.

    It is removed afterwards, with what killed workers left there.
    """
    parent = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent) as temporary:
        yield temporary
