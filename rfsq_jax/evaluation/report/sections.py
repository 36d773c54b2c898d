"""Sections of a report: from figures of results.json to HTML.

Each takes what it shows and nothing else; report.py joins them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rfsq_jax.evaluation.report import charts
from rfsq_jax.evaluation.report.failures import video_link
from rfsq_jax.evaluation.report.markup import Html, element, join, scrolling, table

Figures = Mapping[str, Any]

SIMULATED = ("render", "physics")
"""Parts that take time of a simulator; the others take the policy's."""


def note(title: str, lines: Sequence[str], kind: str = "") -> Html:
    """A box with a list; nothing without lines."""
    if not lines:
        return Html()
    items = element("ul", *(element("li", line) for line in lines))
    body = join(element("strong", title), items)
    return element("div", body, class_=f"note {kind}".strip(), role="note")


def suite_section(name: str, suite: Figures) -> Html:
    """Success of a suite, task by task."""
    header = [
        element("th", _named("Task", charts.scale()), scope="col"),
        element("th", "Solved", scope="col"),
        element("th", "Success", scope="col"),
        element("th", "Steps", scope="col", class_="wide"),
    ]
    rows = [_rate_row(_task_name(task), task) for task in suite["tasks"]]
    rows.append(_rate_row(f"all tasks of {name}", suite, class_="total"))
    whole = element(
        "table",
        element("caption", "Share of solved episodes; whiskers are 95% Wilson intervals."),
        element("thead", element("tr", *header)),
        element("tbody", *rows),
        class_="rates",
    )
    return join(element("h2", name, id=name), scrolling(whole, f"success in {name}"))


def time_section(time: Figures, batch: int, execute: int) -> Html:
    """Where the time of a chunk goes."""
    spent, policy = time["seconds_per_chunk"], time["policy"]
    known = {**policy, "render": spent["render"], "physics": spent["physics"]}
    parts = {name: known[name] for name in charts.COLOURS if name in known}
    whole = sum(parts.values())
    label = ", ".join(f"{name} {size / whole:.1%}" for name, size in parts.items())
    rows = [
        [charts.swatch(name), milliseconds(size), f"{size / whole:.1%}", _owner(name)]
        for name, size in parts.items()
    ]
    called = "1 row" if batch == 1 else f"{batch} rows"
    explained = (
        f"Simulator: means over {time['chunks']} chunks, one picture of each camera and up "
        f"to {execute} steps each. Policy: medians of calls of {called} "
        "afterwards, each part by itself. Not in the bar, per chunk: asking the policy, with "
        f"waiting for it, took {milliseconds(spent['policy'])} ms of a simulator's time, resets "
        f"{milliseconds(spent['reset'])} ms, videos {milliseconds(spent['video'])} ms."
    )
    header = ["Part", "ms", "Share", "Where"]
    return join(
        element("h2", "Time per chunk", id="time"),
        charts.stacked_bar(parts, f"Time per chunk: {label}"),
        table(f"{milliseconds(whole)} ms per chunk, by part", header, rows, class_="numbers parts"),
        element("p", explained, class_="quiet"),
    )


def draft_section(draft: Figures | None) -> Html:
    """How often the main head says what the draft proposed."""
    title = element("h2", "Acceptance of the draft", id="draft")
    if draft is None:
        return join(title, element("p", "This policy has no draft.", class_="quiet"))
    shares = {f"tokens of layer {n}": each for n, each in enumerate(draft["tokens_per_layer"])}
    shares["whole steps"] = sum(draft["steps"]) / len(draft["steps"])
    shares["whole chunks"] = draft["whole_chunks"]
    steps = {f"step {n}": each for n, each in enumerate(draft["steps"], 1)}
    asked = f"on {draft['questions']} questions of this run"
    exits = draft["would_exit"]
    said = f"An early exit would answer {exits:.1%} of the questions." if exits is not None else ""
    return join(
        title,
        _shares(f"Share of proposals that the main head would have said itself, {asked}", shares),
        element("p", said) if said else "",
        element(
            "details",
            element("summary", "Whole steps by their place in the chunk"),
            _shares(f"Share of questions whose whole step was right, {asked}", steps),
        ),
    )


def episodes_section(episodes: Sequence[Figures]) -> Html:
    """All episodes, with their videos."""
    header = ["Episode", "Outcome", "Steps", "Start", "Seconds", "Tries", "Video"]
    rows = [
        [
            f"{each['suite']} · task {each['task']} · trial {each['trial']}",
            "success" if each["success"] else "failure",
            str(each["steps"]),
            _start(each),
            f"{each['seconds']['total']:.1f}",
            str(each["attempts"]),
            video_link(each, "video") if each["video"] else "-",
        ]
        for each in episodes
    ]
    filmed = sum(each["video"] is not None for each in episodes)
    summary = element("summary", f"{len(episodes)} episodes, {filmed} with a video")
    listing = table("Episodes in the order of the suites", header, rows, class_="numbers")
    return join(
        element("h2", "Episodes", id="episodes"),
        element("details", summary, listing),
    )


def values_table(caption: str, values: Mapping[str, object]) -> Html:
    """Names and values; what is nested gets names with dots."""
    return table(caption, ["Name", "Value"], [list(row) for row in _flat(values)], class_="values")


def milliseconds(seconds: float) -> str:
    """Three digits that count."""
    value = 1000 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def interval_text(interval: Sequence[float]) -> str:
    """Both ends of an interval."""
    return f"{100 * interval[0]:.1f}\u2013{interval[1]:.1%}"


def _shares(caption: str, shares: Mapping[str, float]) -> Html:
    rows = [
        element(
            "tr",
            element("th", _named(name, charts.rate_bar(share)), scope="row"),
            element("td", f"{share:.1%}"),
        )
        for name, share in shares.items()
    ]
    first = element("th", _named("Proposals", charts.scale()), scope="col")
    whole = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", first, element("th", "Share", scope="col"))),
        element("tbody", *rows),
        class_="numbers",
    )
    return scrolling(whole, caption)


def _task_name(task: Figures) -> Html:
    return join(element("span", str(task["index"]), class_="index"), task["instruction"])


def _rate_row(name: str, figures: Figures, **attributes: str) -> Html:
    low, high = figures["interval"]
    span = element("span", interval_text(figures["interval"]), class_="range")
    return element(
        "tr",
        element("th", _named(name, charts.rate_bar(figures["rate"], (low, high))), scope="row"),
        element("td", f"{figures['successes']}/{figures['trials']}"),
        element("td", f"{figures['rate']:.1%}", span),
        element("td", f"{figures['steps']:.0f}", class_="wide"),
        **attributes,
    )


def _named(name: str, bar: Html) -> Html:
    return element("span", element("span", name), bar, class_="named")


def _owner(part: str) -> str:
    return "simulator" if part in SIMULATED else "policy"


def _start(episode: Figures) -> str:
    if episode["initial_state"] is not None:
        return f"state {episode['initial_state']}"
    return f"placement {episode['placement_seed']}"


def _flat(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((prefix + key, _text(value)))
    return rows


def _text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
