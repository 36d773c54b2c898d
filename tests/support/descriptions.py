"""Descriptions changed on disk as somebody would who also renews their hash, or who has none."""

import json
from pathlib import Path
from typing import Any

from rfsq_jax.runs.descriptions import SEAL, sealed
from rfsq_jax.runs.json_files import read_json


def change(path: Path, **values: Any) -> None:
    """Sets keys, and renews the hash over the description."""
    path.write_text(json.dumps(sealed({**read_json(path), **values})))


def as_first_format(path: Path, description: dict[str, Any]) -> None:
    """Writes a description of the first format, which had no hash over itself."""
    kept = {key: value for key, value in description.items() if key != SEAL}
    path.write_text(json.dumps({**kept, "format_version": 1}))
