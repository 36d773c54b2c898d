"""One folder in the place of another, so that whoever looks finds the old or the new one, whole.

Where the kernel exchanges two names in one step, it does. Elsewhere, and where a folder must stay
the same one (the current folder, a mounted one), the new files go into a folder inside of it whose
name says that they are complete; then they are moved up, one by one. A swap that was interrupted
there is finished by the next load or save.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from rfsq_jax.parallel.hosts import unique_tag

T = TypeVar("T")

COMPLETE = ".replacement.swap"
NAMES = ".names"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.EBUSY, errno.EPERM, errno.EACCES)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def work_folder(final: Path) -> Path:
    """Makes an empty folder in which what shall be `final` is written."""
    beside = work_path(final)
    temporary = final / beside.name if _is_fixed(final) else beside
    temporary.mkdir()
    return temporary


def work_path(final: Path) -> Path:
    """Returns a name beside `final` that nobody else gives; makes the folder that it is in."""
    final.parent.mkdir(parents=True, exist_ok=True)
    return final.with_name(f".{final.name}.{unique_tag()}.tmp")


def replace_folder(temporary: Path, final: Path) -> None:
    """Puts `temporary` in the place of `final`; the old content is gone afterwards.

    Raises:
      OSError: if the file system refuses; `final` is then as it was.
    """
    while True:
        try:
            # Onto a name that is free, or an empty folder; anything else is refused.
            if not _is_fixed(final):
                os.rename(temporary, final)
                break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        with _locked(final) as present:
            if present:
                _finish(final)
                _swap(temporary, final)
                break
    sync(final.parent)


def read_whole(folder: Path, read: Callable[[Path], T]) -> T:
    """Returns `read(folder)`, where other threads or processes may replace the folder meanwhile.

    What an error says is believed when the folder is still the same, twice.
    """
    failed_at = None
    while True:
        finish_interrupted(folder)
        before = _identity(folder)
        try:
            value = read(folder)
        except (ValueError, OSError):
            if _identity(folder) == before == failed_at:
                raise
            failed_at = before
            continue
        if _identity(folder) == before:
            return value


def finish_interrupted(folder: Path) -> None:
    """Finishes what a killed process had begun to put in the place of this folder's content."""
    if (folder / COMPLETE).is_dir():
        with _locked(folder) as present:
            if present:
                _finish(folder)


def is_leftover(path: Path) -> bool:
    """Whether a name is one that an unfinished save gave."""
    return path.name == COMPLETE or (path.name.startswith(".") and path.name.endswith(".tmp"))


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Waits until all of a folder is on disk."""
    for parent, _, files in os.walk(folder):
        for name in files:
            sync(Path(parent, name))
        sync(Path(parent))


def _is_fixed(folder: Path) -> bool:
    """Whether a folder must keep its inode: somebody stands in it, or it is mounted."""
    if not folder.is_dir():
        return False
    return _stands_in(folder) or os.path.ismount(folder)


def _stands_in(folder: Path) -> bool:
    # A process may stand in a folder that is gone.
    with contextlib.suppress(FileNotFoundError):
        return Path.cwd().is_relative_to(folder)
    return False


def _identity(folder: Path) -> tuple[int, int, int] | None:
    """Another one as soon as the folder was replaced, or a file in it."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Keeps other writers away from the folder of that name; False if there is none by now."""
    while True:
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            yield False
            return
        try:
            _lock(descriptor)
            # Another writer may have exchanged it while this one waited.
            if (found := _stat(folder)) and os.path.samestat(found, os.fstat(descriptor)):
                yield True
                return
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        # Some network file systems have no locks; there a second writer is not kept away.
        if error.errno not in NO_LOCKS:
            raise


def _stat(folder: Path) -> os.stat_result | None:
    with contextlib.suppress(FileNotFoundError):
        return folder.stat()
    return None


def _swap(temporary: Path, final: Path) -> None:
    if not _is_fixed(final) and _exchange(temporary, final):
        shutil.rmtree(temporary)
        return
    new, old = (sorted(each.name for each in folder.iterdir()) for folder in (temporary, final))
    stale = [name for name in old if name not in new and not is_leftover(final / name)]
    (temporary / NAMES).write_text(json.dumps([new, stale]))
    sync(temporary / NAMES)
    sync(temporary)
    os.rename(temporary, final / COMPLETE)
    sync(final)
    _finish(final)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two names in one step; False where that is not possible."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        return False
    paths = os.fsencode(one), os.fsencode(other)
    if library.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _finish(folder: Path) -> None:
    """Moves up what is complete, and removes what it replaces; goes on where it was interrupted."""
    complete = folder / COMPLETE
    if not (complete / NAMES).is_file():
        return
    new, stale = _read_names(complete / NAMES)
    for name in stale:
        remove(folder / name)
    for name in new:
        if (complete / name).exists():
            # A folder cannot be moved onto another one.
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)
            os.replace(complete / name, folder / name)
    sync(folder)
    shutil.rmtree(complete)


def _read_names(path: Path) -> tuple[list[str], list[str]]:
    """What comes, and what goes.

    Raises:
      ValueError: if the file is damaged: nothing is removed because of it.
    """
    try:
        new, stale = json.loads(path.read_bytes())
        names = [*new, *stale]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise ValueError(f"{path} must list names of files, got {names}")
    return new, stale
