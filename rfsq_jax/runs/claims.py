"""A run owns its folder: alone while it runs, and with the same options for good."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rfsq_jax.parallel.hosts import barrier, is_primary
from rfsq_jax.runs.json_files import parse_json, read_json, write_json
from rfsq_jax.runs.swap import NO_LOCKS

CONFIG = "config.json"
LOCK = ".lock"
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)
"""What a file system says of a folder that nobody can write to."""


class FolderInUseError(ValueError):
    """Another run writes to the folder at this moment."""


class UnlockedFolderWarning(UserWarning):
    """The file system has no locks."""


@contextlib.contextmanager
def hold_folder(output: Path) -> Iterator[None]:
    """Keeps other runs out of a folder, which is made if it is not there.

    The kernel gives the lock up with the process, however it ends. A folder that was not claimed
    meanwhile, because an option was refused, is as it was before.

    Raises:
      FolderInUseError: if another run is at work there; it says which.
      ValueError: if the folder cannot be written to.
    """
    if not is_primary():
        yield
        return
    made = not output.exists()
    with _lock(output):
        try:
            yield
        finally:
            if not (output / CONFIG).exists():
                (output / LOCK).unlink()
                if made and not any(output.iterdir()):
                    output.rmdir()


def claim_folder(output: Path, identity: dict[str, Any]) -> None:
    """Writes `output/config.json`, or checks that the run already there has the same identity.

    Args:
      output: the run's folder, which this run holds.
      identity: the options that decide what the run makes.

    Raises:
      ValueError: if it has another one; it names the options that differ.
    """
    path = output / CONFIG
    wanted = json.loads(json.dumps(identity, default=str))
    if is_primary() and not path.exists():
        write_json(path, wanted)
    barrier("claim of the folder")
    if not path.exists():
        raise ValueError(f"output must be a folder that all hosts see, got {output}")
    if (found := read_json(path)) != wanted:
        differences = "; ".join(_differences(found, wanted))
        advice = "give another --output or remove that folder"
        raise ValueError(f"{output} holds a run with other options ({differences}); {advice}")


@contextlib.contextmanager
def _lock(output: Path) -> Iterator[None]:
    while True:
        with _open(output) as file:
            _take(file, output)
            # A run that was refused may have removed it meanwhile.
            if not _is_there(file, output / LOCK):
                continue
            _sign(file)
            try:
                yield
            finally:
                file.truncate(0)
            return


def _open(output: Path) -> BinaryIO:
    try:
        output.mkdir(parents=True, exist_ok=True)
        # Not truncated: another run's name may stand there.
        return os.fdopen(os.open(output / LOCK, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        raise ValueError(
            f"output must be a folder that can be written to, got {output}: {error.strerror}"
        ) from error


def _is_there(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _take(file: BinaryIO, output: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FolderInUseError(
            f"{output} is in use by {_owner(file)}; wait for it, or give another --output"
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        warnings.warn(
            f"{output} cannot be locked ({error.strerror}): nothing keeps a second run away",
            UnlockedFolderWarning,
            stacklevel=2,
        )


def _sign(file: BinaryIO) -> None:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    owner = {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": now,
    }
    file.truncate(0)
    file.seek(0)
    file.write(json.dumps(owner).encode())
    file.flush()


def _owner(file: BinaryIO) -> str:
    try:
        owner = parse_json(file.read(10_000), LOCK)
        return "process {process} on {host} ({command}, since {since})".format(**owner)
    # The other run may not have signed yet.
    except (ValueError, KeyError, TypeError):
        return "another run"


def _differences(found: Any, wanted: Any, path: str = "") -> list[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = sorted(found.keys() | wanted.keys())
        parts = [_differences(found.get(k), wanted.get(k), f"{path}.{k}") for k in keys]
        return [line for part in parts for line in part]
    return [] if found == wanted else [f"{path[1:]}: there {found}, here {wanted}"]
