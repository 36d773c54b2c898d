"""The table and the plot of how steps scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval.benchmarks.scaling.measuring import Row
from rfsq_jax.runs import plots

HEADER = (
    "step",
    "topology",
    "chips",
    "batch",
    "GB per chip",
    "of",
    "collectives of a step, MB sent per chip",
    "largest group",
    "computing, ms",
    "sending, ms",
    "waiting, ms",
    "limit, ms",
    "of the limit",
    "efficiency",
)
COLOURS = (plots.BLUE, plots.VERMILION, plots.GREEN, plots.PURPLE, plots.ORANGE)


def markdown(rows: Sequence[Row]) -> str:
    """The table of the documentation, step by step."""
    lines = [HEADER, ("---",) * len(HEADER), *(_cells(row, rows) for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def efficiency(row: Row, rows: Sequence[Row]) -> float | None:
    """Samples per second and chip, over those on the fewest chips of the same kind.

    None where the step does not fit here or there.
    """
    alike = [each for each in rows if (each.step, each.family) == (row.step, row.family)]
    here = row.samples_per_chip_second
    smallest = min(alike, key=lambda each: each.chips).samples_per_chip_second
    return None if here is None or smallest is None else here / smallest


def exceeded(rows: Sequence[Row]) -> str | None:
    """What does not fit, in one line; None if all does."""
    named = [f"{row.step} on {row.topology}: {row.exceeded}" for row in rows if row.exceeded]
    return f"a chip's memory is exceeded by {'; '.join(named)}" if named else None


def plot(rows: Sequence[Row], path: Path) -> None:
    """Efficiency by number of chips, a panel for each kind of chip and a line for each step."""
    families = list(dict.fromkeys(row.family for row in rows))
    steps = list(dict.fromkeys(row.step for row in rows))
    figure, panels = plots.new_figure((4.0 * len(families), 3.4), len(families), sharey=True)
    for axes, family in zip(panels, families, strict=True):
        for index, step in enumerate(steps):
            points = sorted(
                (row.chips, share)
                for row in rows
                if (row.family, row.step) == (family, step)
                and (share := efficiency(row, rows)) is not None
            )
            chips, shares = zip(*points, strict=True) if points else ((), ())
            colour = COLOURS[index % len(COLOURS)]
            axes.plot(chips, shares, marker="o", color=colour, label=step)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({row.chips for row in rows if row.family == family}))
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.set(title=family, xlabel="chips", ylim=(0, 1.05))
    panels[0].set_ylabel("estimated efficiency")
    panels[0].legend(frameon=False)
    plots.save_figure(figure, path)


def _cells(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    lead = (row.step, row.topology, str(row.chips), str(row.batch))
    capacity = f"{row.capacity / 1e9:.1f}"
    if row.memory is None or row.program is None or row.estimate is None:
        return (*lead, "does not fit", capacity, *("",) * (len(HEADER) - 6))
    share = efficiency(row, rows)
    seconds = (row.estimate.computing, row.estimate.sending, row.estimate.waiting)
    return (
        *lead,
        f"{row.memory.used / 1e9:.2f}",
        capacity,
        _collectives(row) or "none",
        str(max(row.program.rounds, default=1)),
        *(f"{1e3 * each:.3g}" for each in (*seconds, row.estimate.limit)),
        f"{100 * row.estimate.fraction_of_limit:.1f} %",
        "?" if share is None else f"{100 * share:.1f} %",
    )


def _collectives(row: Row) -> str:
    assert row.program is not None
    sent = row.program.sent_by_kind
    return ", ".join(
        f"{count / row.repeats:g} {kind} {sent[kind] / row.repeats / 1e6:.2f}"
        for kind, count in row.program.collectives.items()
    )
