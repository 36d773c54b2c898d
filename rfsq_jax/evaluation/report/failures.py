"""Which failures a report shows, and their filmstrips."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rfsq_jax.evaluation.report.markup import Html, element, join, scrolling

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
    for each in filmed:
        ranked.append((turns[_place(each)], len(ranked)))
        turns[_place(each)] += 1
    return [filmed[number] for _, number in sorted(sorted(ranked)[:most], key=lambda pair: pair[1])]


def read_strips(folder: Path, episodes: Sequence[Row]) -> dict[str, str]:
    """Filmstrips as data URIs by their paths; one that was removed since is left out."""
    paths = [each["filmstrip"] for each in episodes if (folder / each["filmstrip"]).is_file()]
    return {path: data_uri((folder / path).read_bytes()) for path in paths}


def data_uri(jpeg: bytes) -> str:
    """A JPEG inside an address."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def failures_section(
    episodes: Sequence[Row], instructions: Mapping[tuple[str, int], str], strips: Mapping[str, str]
) -> Html:
    """Filmstrips of failures, or why there are none."""
    failed = [each for each in episodes if not each["success"]]
    shown = [each for each in failures_to_show(episodes) if each["filmstrip"] in strips]
    if not failed:
        text = "Every episode ended in success."
    elif not shown:
        text = f"None of the {len(failed)} failures has a filmstrip; --video failures makes them."
    else:
        which = (
            f"{len(shown)} of {len(failed)}" if len(shown) < len(failed) else f"All {len(shown)}"
        )
        text = f"{which} failures, each from its first picture to its last, evenly spaced."
    figures = [
        _figure(each, instructions[_place(each)], strips[each["filmstrip"]]) for each in shown
    ]
    return join(
        element("h2", "Failures", id="failures"), element("p", text, class_="quiet"), *figures
    )


def video_link(episode: Row, text: str) -> Html:
    """A link to an episode's video, beside the report."""
    label = f"{text} of {_name(episode)}"
    return element("a", text, href=quote(episode["video"]), aria_label=label)


def _figure(episode: Row, instruction: str, strip: str) -> Html:
    parts = [element("strong", instruction), f"{_name(episode)} · {episode['steps']} steps"]
    if episode["video"]:
        parts += [" · ", video_link(episode, "video")]
    alt = f"Moments of the failed episode {_name(episode)}, left to right: {instruction}"
    picture = element("img", src=strip, alt=alt)
    return element(
        "figure", element("figcaption", *parts), scrolling(picture, f"filmstrip: {_name(episode)}")
    )


def _place(episode: Row) -> tuple[str, int]:
    return (episode["suite"], episode["task"])


def _name(episode: Row) -> str:
    return f"{episode['suite']} task {episode['task']} trial {episode['trial']}"
