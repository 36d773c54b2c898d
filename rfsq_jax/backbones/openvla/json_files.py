"""JSON that others wrote: what is damaged, or says one thing twice, is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json_file(path: Path, problem: str = "is damaged") -> Any:
    """What a JSON file holds.

    Args:
      path: the file.
      problem: what the message says of a damaged one.

    Raises:
      ValueError: as `parse_json`, or if there is no such file.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    return parse_json(path, path.read_bytes(), problem)


def parse_json(path: Path, raw: bytes, problem: str) -> Any:
    """What bytes of a file hold; `problem` as in `read_json_file`.

    Raises:
      ValueError: if they are no JSON in UTF-8, are nested too deeply, or have a key twice or a
        number that is none; the file is named.
    """
    try:
        return json.loads(
            raw.decode(), object_pairs_hook=_table_of, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} {problem}: {error}") from error


def _table_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has {twice!r:.80} twice")
    return table


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it has a number {name}")
