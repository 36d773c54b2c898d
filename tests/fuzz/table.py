"""The outcomes of a campaign as a table, as JSON, and in the documentation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rfsq_jax.runs.checks import require
from rfsq_jax.runs.files import atomic_path
from rfsq_jax.runs.terminal import format_table
from tests.fuzz.cases import Result
from tests.fuzz.formats import FORMATS
from tests.fuzz.outcome import FAILURES, KINDS

SHOWN_FAILURES = 20
BEGIN, END = "<!-- outcomes: begin -->", "<!-- outcomes: end -->"

Counts = dict[str, Counter[str]]


def count(results: Iterable[Result]) -> Counts:
    """How many cases of each format ended how."""
    counts: Counts = {}
    for each in results:
        counts.setdefault(each.case.format, Counter())[each.outcome.kind] += 1
    return {name: counts[name] for name in FORMATS if name in counts}


def text_table(counts: Counts) -> str:
    """For a terminal."""
    return format_table(*_cells(counts))


def markdown_table(counts: Counts) -> str:
    """For the documentation, with what each format promises."""
    header, rows = _cells(counts)
    promises = [FORMATS[name].promise for name in counts] + [""]
    lines = [
        [*header, "promise"],
        ["---", *["---:"] * (len(header) - 1), "---"],
        *([*row, promise] for row, promise in zip(rows, promises, strict=True)),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figures(results: Sequence[Result]) -> dict[str, Any]:
    """All counts, and the first failures of each kind with what makes them again."""
    failures: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in results:
        if each.outcome.failed and len(failures[each.outcome.kind]) < SHOWN_FAILURES:
            failures[each.outcome.kind].append(describe(each))
    return {
        "cases": len(results),
        "failed": sum(each.outcome.failed for each in results),
        "counts": {name: dict(each) for name, each in count(results).items()},
        "failures": dict(failures),
    }


def describe(result: Result) -> dict[str, Any]:
    """One result, with the command that runs it again."""
    case, outcome = result.case, result.outcome
    return {
        "format": case.format,
        "again": f"python -m tests.fuzz --only {case.format} --case {case.number}"
        f" --seed {case.seed}",
        "mutator": result.mutator,
        "path": result.path,
        "kind": outcome.kind,
        "detail": outcome.detail,
        "where": outcome.where,
    }


def write_docs(page: Path, counts: Counts) -> None:
    """Replaces the table between the two markers of a page.

    Raises:
      ValueError: if the page lacks a marker.
    """
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    require(bool(begin and end), str(page), f"a page with {BEGIN} and {END}", "no such page")
    with atomic_path(page) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{markdown_table(counts)}\n{END}{after}")


def _cells(counts: Counts) -> tuple[list[str], list[list[str]]]:
    total = sum(counts.values(), Counter())
    rows = [
        [name, str(each.total()), *(str(each[kind]) for kind in KINDS)]
        for name, each in {**counts, "all": total}.items()
    ]
    kinds = [f"{kind}!" if kind in FAILURES else kind for kind in KINDS]
    return ["format", "cases", *kinds], rows
