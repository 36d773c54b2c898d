"""Files and folders that are either whole or absent under their final name."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from rfsq_jax.parallel.hosts import is_primary
from rfsq_jax.runs.swap import (
    is_leftover,
    remove,
    replace_folder,
    sync,
    sync_tree,
    work_folder,
    work_path,
)


@contextlib.contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yields a temporary path for a file; on success it is on disk under its final name.

    A link under that name stays, and what it points to is replaced.

    Raises:
      OSError: if the file system refuses (full disk, no permission); `final` is then untouched.
    """
    final = Path(os.path.realpath(final))
    temporary = work_path(final)
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, final)
        sync(final.parent)
    finally:
        remove(temporary)


@contextlib.contextmanager
def atomic_folder(final: Path, own: Collection[str]) -> Iterator[Path]:
    """Yields a new folder; on success it takes the place of `final`, which is always whole.

    Args:
      final: the folder's name; a link stays, and what it points to is replaced.
      own: names of the files and folders that may be replaced.

    Raises:
      ValueError: if there is a file under that name, or a folder with anything else in it.
      OSError: if the file system refuses; `final` is then untouched.
    """
    named, final = final, Path(os.path.realpath(final))
    require_own(final, own, named)
    temporary = work_folder(final)
    try:
        yield temporary
        require_own(final, own, named)
        sync_tree(temporary)
        replace_folder(temporary, final)
    finally:
        remove(temporary)


@contextlib.contextmanager
def primary_path(final: Path) -> Iterator[Path]:
    """As `atomic_path`, for what every process of a run makes alike: only the first one's stays."""
    if is_primary():
        with atomic_path(final) as temporary:
            yield temporary
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / Path(final).name


@contextlib.contextmanager
def primary_folder(final: Path, own: Collection[str]) -> Iterator[Path]:
    """As `atomic_folder`, for what every process of a run makes alike."""
    if is_primary():
        with atomic_folder(final, own) as temporary:
            yield temporary
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


def require_own(folder: Path, own: Collection[str], named: Path | None = None) -> None:
    """Raises a ValueError if something is there that is not ours to replace.

    Args:
      folder: what would be replaced; it may be absent or empty.
      own: names of the files and folders that may be replaced.
      named: what an error calls it.
    """
    named = folder if named is None else named
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise ValueError(f"{named} must be a folder or a new name, got a file")
    foreign = sorted(each.name for each in folder.iterdir() if not _is_ours(each, own))
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise ValueError(
            f"{named} holds other files ({', '.join(foreign[:3])}{more}), which are not replaced: "
            "give a new name, or an empty folder"
        )


def read_bounded(path: Path, most: int) -> bytes:
    """Reads a file of at most `most` bytes.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if it is no regular file, or larger.
    """
    path = Path(path)
    require_file(path)
    size = path.stat().st_size
    if size > most:
        raise ValueError(f"{path} must have at most {most} bytes, got {size}")
    return path.read_bytes()


def require_file(path: Path) -> None:
    """Raises a FileNotFoundError if there is none, a ValueError if it is a folder or a pipe."""
    if not path.is_file():
        if os.path.lexists(path):
            raise ValueError(f"{path} must be a regular file")
        raise FileNotFoundError(f"no file at {path}")


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Removes what killed runs left of files or folders of that name which they did not finish."""
    for leftover in folder.glob(f".{name}.*.tmp*"):
        remove(leftover)


def _is_ours(path: Path, own: Collection[str]) -> bool:
    return path.name in own or is_leftover(path)
