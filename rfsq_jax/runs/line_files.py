"""Logs: one JSON object a line, each with a checksum; what is damaged is left out, and said."""

from __future__ import annotations

import json
import os
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rfsq_jax.runs.descriptions import require_object
from rfsq_jax.runs.files import read_bounded
from rfsq_jax.runs.json_files import parse_json
from rfsq_jax.runs.swap import sync

CHECKSUM = "crc32"
MAX_BYTES = 1 << 30


class DamagedLineWarning(UserWarning):
    """A line of a log was left out."""


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Adds a line and waits until it is on disk; what a killed run left half written is cut off."""
    if path.exists():
        _cut_half_a_line(path)
    else:
        path.touch()
        sync(path.parent)
    with path.open("a") as stream:
        stream.write(json.dumps({**value, CHECKSUM: _checksum(value)}) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields number and object of every whole line, without its checksum; changes nothing.

    Lines of older logs have no checksum; after the first one that has, all must.

    Warns:
      DamagedLineWarning: for each line that is left out.
    """
    # A link to nowhere is there too, and is refused.
    if not os.path.lexists(path):
        return
    *lines, rest = read_bounded(path, MAX_BYTES).split(b"\n")
    checked = False
    for number, line in enumerate(lines, 1):
        try:
            value = _parse(line, checked)
        except ValueError as error:
            leave_out(path, number, str(error))
            continue
        checked = checked or CHECKSUM in value
        value.pop(CHECKSUM, None)
        yield number, value
    if rest:
        leave_out(path, len(lines) + 1, "it was not written to its end")


def leave_out(path: Path, number: int, reason: str) -> None:
    """Says that a line is not taken, and why."""
    message = f"{path}, line {number} is damaged and left out: {reason}"
    warnings.warn(message, DamagedLineWarning, stacklevel=3)


def _parse(line: bytes, checked: bool) -> dict[str, Any]:
    value = require_object("it", parse_json(line, "it"))
    if CHECKSUM not in value and not checked:
        return value
    rest = {key: each for key, each in value.items() if key != CHECKSUM}
    if value.get(CHECKSUM) != _checksum(rest):
        raise ValueError(f"its {CHECKSUM} is not that of its content")
    return value


def _checksum(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{zlib.crc32(text.encode()):08x}"


def _cut_half_a_line(path: Path) -> None:
    with path.open("r+b") as stream:
        end = stream.seek(0, os.SEEK_END)
        if end and stream.seek(end - 1) >= 0 and stream.read(1) != b"\n":
            stream.seek(0)
            stream.truncate(stream.read().rfind(b"\n") + 1)
