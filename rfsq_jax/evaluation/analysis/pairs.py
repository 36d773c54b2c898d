"""Two runs of eval.libero, episode by episode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rfsq_jax.evaluation.protocol import current_names
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.intervals import Paired, compare
from rfsq_jax.runs.results import read_results
from rfsq_jax.runs.terminal import format_table

START = ("suite", "task", "trial", "initial_state", "placement_seed")
RULES = ("starts", "placement_margin", "seed", "settle_steps", "step_limit")


def read_run(path: Path) -> dict[str, Any]:
    """The figures of a run, given its folder or its results.json.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if it is damaged, of another command, or had errors and so no rate.
    """
    path = path / "results.json" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"expected a results.json of eval.libero, got nothing at {path}")
    figures = read_results(path)["figures"]
    if not figures.get("episodes"):
        raise ValueError(f"{path} must be of a run of eval.libero without errors, got no episodes")
    return figures


def compare_runs(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Paired]:
    """Compares two runs by suite, and over all if there are several.

    Raises:
      ValueError: if they did not play the same episodes; it says what differs.
    """
    rules, other_rules = current_names(first["protocol"]), current_names(second["protocol"])
    for rule in RULES:
        one, other = rules[rule], other_rules[rule]
        require(one == other, f"{rule} of both runs", f"the same, {one}", other)
    ours, theirs = _by_start(first), _by_start(second)
    if ours.keys() != theirs.keys():
        alone = ours.keys() ^ theirs.keys()
        raise ValueError(
            f"both runs must have played the same episodes; {len(alone)} are in one only, "
            f"such as {dict(zip(START, sorted(alone, key=str)[0], strict=True))}"
        )
    suites = list(dict.fromkeys(key[0] for key in ours))
    groups = {suite: [key for key in ours if key[0] == suite] for suite in suites}
    if len(suites) > 1:
        groups["all"] = list(ours)
    return {
        name: compare([ours[key] for key in keys], [theirs[key] for key in keys])
        for name, keys in groups.items()
    }


def pair_table(figures: dict[str, Paired]) -> str:
    """One line per suite."""
    rows = [
        [
            name, str(p.both), str(p.first), str(p.second), str(p.neither),
            f"{100 * p.difference:+.1f}",
            f"{100 * p.interval[0]:+.1f} to {100 * p.interval[1]:+.1f}",
            f"{p.p_value:.2g}",
        ]
        for name, p in figures.items()
    ]  # fmt: skip
    header = ["suite", "both", "first only", "second only", "neither"]
    return format_table([*header, "second - first, points", "95 % interval", "p (McNemar)"], rows)


def _by_start(run: dict[str, Any]) -> dict[tuple[Any, ...], bool]:
    return {tuple(each[field] for field in START): each["success"] for each in run["episodes"]}
