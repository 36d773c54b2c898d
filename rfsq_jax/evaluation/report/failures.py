"""Which failures a report shows, and their filmstrips."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MOST_STRIPS = 40
"""About 30 kB each; the page should open on a phone."""

Row = Mapping[str, Any]


def failures_to_show(episodes: Sequence[Row], most: int = MOST_STRIPS) -> list[Row]:
    """At most so many failures with filmstrips: first one of each task, then a second, ...

    Args:
      episodes: rows of results.json.
      most: how many.
    """
    filmed = [each for each in episodes if not each["success"] and each["filmstrip"]]
    turns: Counter[tuple[str, int]] = Counter()
    ranked = []
    for number, each in enumerate(filmed):
        task = (each["suite"], each["task"])
        ranked.append((turns[task], number))
        turns[task] += 1
    return [filmed[number] for number in sorted(number for _, number in sorted(ranked)[:most])]


def read_strips(folder: Path, episodes: Sequence[Row]) -> dict[str, str]:
    """Filmstrips as data URIs by their paths; one that was removed since is left out."""
    paths = [each["filmstrip"] for each in episodes if (folder / each["filmstrip"]).is_file()]
    return {path: data_uri((folder / path).read_bytes()) for path in paths}


def data_uri(jpeg: bytes) -> str:
    """A JPEG inside an address."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
