"""The small files of a checkpoint, compared before Orbax reads them: it trusts what they say."""

from __future__ import annotations

import dataclasses
import secrets
import zlib
from pathlib import Path
from typing import TypeVar

from rfsq_jax.parallel.hosts import barrier, is_primary
from rfsq_jax.runs.checks import DamagedError
from rfsq_jax.runs.descriptions import read_sealed, write_sealed
from rfsq_jax.runs.files import read_bounded
from rfsq_jax.runs.records import parse_record

Kind = TypeVar("Kind")

FILES = "files.json"
RUN = "run.json"
MAX_BYTES = 1 << 24
ARRAYS = "d"
"""The folder that holds the bytes of arrays, which have checksums of their own."""


@dataclasses.dataclass(frozen=True)
class FileList:
    """Checksums of the small files, by their path in the checkpoint's folder."""

    crc32: dict[str, int]


@dataclasses.dataclass(frozen=True)
class RunName:
    """What tells the checkpoints of a run from those of another one."""

    run: str


def run_name(folder: Path) -> str:
    """The name of the run whose checkpoints are in a folder, which a new run makes up.

    Raises:
      DamagedError: if it is damaged, or gone although there are checkpoints.
    """
    path = folder / RUN
    if is_primary() and not path.exists():
        if _steps(folder):
            raise DamagedError(f"{path} is missing, which names the run of the checkpoints there")
        folder.mkdir(parents=True, exist_ok=True)
        write_sealed(path, {"run": secrets.token_hex(8)})
    barrier("name of the run")
    return _read(path, RunName).run


def write_file_list(checkpoint: Path) -> None:
    """Writes down the small files of a finished checkpoint."""
    found = {
        str(path.relative_to(checkpoint)): zlib.crc32(path.read_bytes())
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.parent.name != ARRAYS
    }
    write_sealed(checkpoint / FILES, {"crc32": found})


def check_files(folder: Path) -> None:
    """Compares the small files of all checkpoints in a folder with what was written down.

    Of one whose run was killed right after it was saved nothing is written down.

    Raises:
      DamagedError: if one is missing or altered; it is named.
    """
    for checkpoint in _steps(folder):
        if not (checkpoint / FILES).exists():
            continue
        for name, crc32 in _read(checkpoint / FILES, FileList).crc32.items():
            try:
                same = zlib.crc32(read_bounded(checkpoint / name, MAX_BYTES)) == crc32
            except (ValueError, FileNotFoundError) as error:
                raise _damaged(checkpoint, str(error)) from error
            if not same:
                raise _damaged(checkpoint, f"{name} was altered")


def _steps(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.name.isdigit() and path.is_dir())


def _read(path: Path, kind: type[Kind]) -> Kind:
    try:
        return parse_record(kind, read_sealed(path), str(path))
    except (ValueError, FileNotFoundError) as error:
        raise DamagedError(str(error)) from error


def _damaged(checkpoint: Path, reason: str) -> DamagedError:
    return DamagedError(
        f"the checkpoint of step {checkpoint.name} in {checkpoint.parent} is damaged ({reason}); "
        "remove that folder to resume from an earlier one"
    )
