"""A run of eval.libero as one page that needs no network: report.html beside results.json."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rfsq_jax.evaluation.report import sections
from rfsq_jax.evaluation.report.failures import failures_section, failures_to_show, read_strips
from rfsq_jax.evaluation.report.markup import Html, element, join
from rfsq_jax.evaluation.report.style import STYLE
from rfsq_jax.runs.files import atomic_path, read_json

# The page loads nothing, whatever a name or an instruction holds.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
COMMAND = ("python", "-m", "eval.libero")


def write_report(folder: Path) -> Path:
    """Writes `folder/report.html` from its results.json and filmstrips; returns its path.

    Raises:
      FileNotFoundError: without results.json.
    """
    results = read_json(folder / "results.json")
    shown = failures_to_show(results["figures"].get("episodes", []))
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
    title = _title(figures)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Html(STYLE)),
    )
    content = _refused(figures) if figures["suites"] is None else _measured(figures, strips)
    main = element(
        "main", element("h1", title), _finished(results), _notes(figures), content, _origin(results)
    )
    return "<!doctype html>\n" + element("html", head, element("body", main), lang="en") + "\n"


def _title(figures: Mapping[str, Any]) -> str:
    policy = figures["policy"]
    name = f"Policy {policy['name']}" + (", blind" if policy["blind"] else "")
    if figures["suites"] is None:
        count = len(figures["errors"])
        return f"{name}: no rate, {count} episode{'s'[: count > 1]} ended in errors"
    suites = [f"{suite['rate']:.1%} on {key}" for key, suite in figures["suites"].items()]
    if len(suites) > 2:
        return f"{name}: {_mean(figures['suites']):.1%}, mean of {len(suites)} suites"
    return f"{name}: {', '.join(suites)}"


def _mean(suites: Mapping[str, Any]) -> float:
    return sum(suite["rate"] for suite in suites.values()) / len(suites)


def _finished(results: Mapping[str, Any]) -> Html:
    when = results["finished"]
    day, clock = when[:10], when[11:16]
    return element(
        "p",
        "LIBERO evaluation, finished ",
        element("time", f"{day} {clock} UTC", datetime=when),
        class_="quiet",
    )


def _notes(figures: Mapping[str, Any]) -> Html:
    deviations = figures["deviations"]
    official = element("p", "Played by the official protocol, without deviations.")
    return join(
        sections.note(
            "Warnings: results may differ from published ones", figures["warnings"], "warn"
        ),
        sections.note("Not the official protocol", deviations, "warn") if deviations else official,
    )


def _measured(figures: Mapping[str, Any], strips: Mapping[str, str]) -> Html:
    suites, episodes = figures["suites"], figures["episodes"]
    instructions = {
        (name, task["index"]): task["instruction"]
        for name, suite in suites.items()
        for task in suite["tasks"]
    }
    return join(
        _cards(figures),
        *(sections.suite_section(name, suite) for name, suite in suites.items()),
        failures_section(episodes, instructions, strips),
        sections.time_section(figures["time"], figures["batch"], figures["protocol"]["execute"]),
        sections.draft_section(figures["draft"]),
        sections.episodes_section(episodes),
    )


def _cards(figures: Mapping[str, Any]) -> Html:
    cards = [
        (name, f"{suite['rate']:.1%}", sections.interval_text(suite["interval"]))
        for name, suite in figures["suites"].items()
    ]
    solved = sum(each["success"] for each in figures["episodes"])
    total = len(figures["episodes"])
    policy = figures["policy"]
    cards += [
        ("Episodes", str(total), f"{solved} solved, {total - solved} not"),
        ("Backbone", policy["backbone"], f"heads: {policy['kind']}, {policy['mode']}"),
        ("Memory of a worker", f"{figures['time']['worker_mib']:.0f} MiB", "at its peak"),
    ]
    boxes = [
        element("div", element("dt", name), element("dd", value, element("small", more)))
        for name, value, more in cards
    ]
    return element("dl", *boxes, class_="cards")


def _refused(figures: Mapping[str, Any]) -> Html:
    explained = "An error is not a failure of the policy, so no rate is given."
    return join(
        element("h2", "Errors", id="errors"),
        element("p", explained, " The same command tries these episodes again."),
        *(_error(each) for each in figures["errors"]),
    )


def _error(error: Mapping[str, Any]) -> Html:
    suite, task, trial = error["trial"]
    last = error["reasons"][-1].strip().splitlines()[-1]
    reasons = [element("pre", reason.strip()) for reason in error["reasons"]]
    summary = element("summary", f"each of {len(reasons)} tries in full")
    title = element("strong", f"{suite} task {task} trial {trial}: {last}")
    return element("div", title, element("details", summary, *reasons), class_="note bad")


def _origin(results: Mapping[str, Any]) -> Html:
    figures = results["figures"]
    simulator = {key: value for key, value in figures["simulator"].items() if key != "versions"}
    versions = results["versions"] | figures["simulator"]["versions"]
    command = shlex.join([*COMMAND, *results["command"][1:]])
    details = element("summary", "Policy, protocol and all options")
    return join(
        element("h2", "How to make it again", id="origin"),
        element("pre", element("code", command)),
        sections.values_table("Versions", versions | simulator | results["machine"]),
        element(
            "details",
            details,
            sections.values_table("Policy", figures["policy"]),
            sections.values_table("Protocol", figures["protocol"]),
            sections.values_table("Options", results["config"]),
        ),
    )
