"""A run of eval.libero as one page that needs no network: report.html beside results.json."""

from __future__ import annotations

import base64
import functools
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rfsq_jax.evaluation.report import charts
from rfsq_jax.runs.files import atomic_path
from rfsq_jax.runs.results import read_results

if TYPE_CHECKING:
    from jinja2 import Environment

COMMAND = ("python", "-m", "eval.libero")
MOST_STRIPS = 40
"""Filmstrips of failures, about 30 kB each; the page should open on a phone."""

Figures = Mapping[str, Any]


def write_report(folder: Path) -> Path:
    """Writes `folder/report.html` from its results.json and filmstrips; returns its path.

    Raises:
      FileNotFoundError: without results.json.
      ValueError: if it is damaged, or names a film that is not within the folder.
    """
    results = read_results(folder / "results.json")
    episodes = results["figures"].get("episodes", [])
    for each in episodes:
        for kind in ("video", "filmstrip"):
            if each[kind] is not None:
                _within(folder, each[kind])
    shown = failures_to_show(episodes)
    path = folder / "report.html"
    with atomic_path(path) as temporary:
        temporary.write_text(report_page(results, read_strips(folder, shown)), encoding="utf-8")
    return path


def report_page(results: Mapping[str, Any], strips: Mapping[str, str]) -> str:
    """The page.

    Args:
      results: what results.json holds.
      strips: filmstrips of failures, data URIs by the paths that the episodes give.
    """
    figures = results["figures"]
    simulator = {key: value for key, value in figures["simulator"].items() if key != "versions"}
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=_title(figures),
            finished=results["finished"],
            figures=figures,
            command=shlex.join([*COMMAND, *results["command"][1:]]),
            versions=results["versions"]
            | figures["simulator"]["versions"]
            | simulator
            | results["machine"],
            options=results["config"],
            **({} if figures["suites"] is None else _measured(figures, strips)),
        )
    )


def failures_to_show(episodes: Sequence[Figures], most: int = MOST_STRIPS) -> list[Figures]:
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


def read_strips(folder: Path, episodes: Sequence[Figures]) -> dict[str, str]:
    """Filmstrips as data URIs by their paths; one that was removed since is left out.

    Raises:
      ValueError: if a path leads out of the folder.
    """
    files = {each["filmstrip"]: _within(folder, each["filmstrip"]) for each in episodes}
    return {name: data_uri(path.read_bytes()) for name, path in files.items() if path.is_file()}


def _within(folder: Path, name: Any) -> Path:
    """The file that a name stands for, links followed: a page is shown to others."""
    try:
        path = (folder / name).resolve()
        if not Path(name).is_absolute() and path.is_relative_to(folder.resolve()):
            return path
        reason = "it leads elsewhere"
    # No name, a byte that no name has, or links in a circle.
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        reason = str(error)
    raise ValueError(
        f"{folder / 'results.json'}: films must lie within the run's folder, got {name!r:.200}: "
        f"{reason}"
    )


def data_uri(jpeg: bytes) -> str:
    """A JPEG inside an address."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


@functools.cache
def _environment() -> Environment:
    """The templates; whatever is no markup already is escaped, and a missing name is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("rfsq_jax.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": lambda share: f"{share:.1%}",
        "interval": lambda ends: f"{100 * ends[0]:.1f}\N{EN DASH}{ends[1]:.1%}",
        "milliseconds": _milliseconds,
        "flat": _flat,
    }
    environment.globals |= {
        "rate_bar": charts.rate_bar,
        "stacked_bar": charts.stacked_bar,
        "swatch": charts.swatch,
    }
    return environment


def _title(figures: Figures) -> str:
    policy, suites = figures["policy"], figures["suites"]
    name = f"Policy {policy['name']}" + (", blind" if policy["blind"] else "")
    if suites is None:
        count = len(figures["errors"])
        return f"{name}: no rate, {count} episode{'s'[: count > 1]} ended in errors"
    if len(suites) > 2:
        mean = sum(suite["rate"] for suite in suites.values()) / len(suites)
        return f"{name}: {mean:.1%}, mean of {len(suites)} suites"
    return f"{name}: " + ", ".join(f"{suite['rate']:.1%} on {key}" for key, suite in suites.items())


def _measured(figures: Figures, strips: Mapping[str, str]) -> dict[str, Any]:
    """What the page of a run without errors shows beside its figures."""
    episodes, time, draft = figures["episodes"], figures["time"], figures["draft"]
    spent = time["seconds_per_chunk"]
    known = time["policy"] | {part: spent[part] for part in ("render", "physics")}
    return {
        "instructions": {
            (name, task["index"]): task["instruction"]
            for name, suite in figures["suites"].items()
            for task in suite["tasks"]
        },
        "strips": strips,
        "failed": sum(not each["success"] for each in episodes),
        "shown": [each for each in failures_to_show(episodes) if each["filmstrip"] in strips],
        "parts": {name: known[name] for name in charts.COLOURS if name in known},
        **({} if draft is None else _draft_shares(draft)),
    }


def _draft_shares(draft: Figures) -> dict[str, list[tuple[str, float]]]:
    """How often the main head says what the draft proposed: by layer and as wholes, and by step."""
    layers = [(f"tokens of layer {n}", each) for n, each in enumerate(draft["tokens_per_layer"])]
    mean = sum(draft["steps"]) / len(draft["steps"])
    return {
        "shares": [*layers, ("whole steps", mean), ("whole chunks", draft["whole_chunks"])],
        "steps": [(f"step {n}", each) for n, each in enumerate(draft["steps"], 1)],
    }


def _milliseconds(seconds: float) -> str:
    """Three digits that count."""
    value = 1000 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values; what is nested gets names with dots."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield prefix + key, " ".join(map(str, value)) or "-"
        else:
            yield prefix + key, "-" if value is None else str(value)
