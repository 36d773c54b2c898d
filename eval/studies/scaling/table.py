"""What one compiled step costs a chip, and how that grows with their number."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from eval.benchmarks.device_peaks import PEAKS, limit_seconds
from eval.benchmarks.hlo import read_program
from eval.studies.scaling.steps import Compiled
from rfsq_jax.runs.plots import new_figure, save_figure

HEADER = (
    "step",
    "topology",
    "chips",
    "group",
    "rows",
    "GB per chip",
    "of",
    "collectives",
    "MB sent per chip",
    "computing, ms",
    "sending, ms",
    "rows/s per chip",
    "efficiency",
    "of the limit",
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One step on one topology; bytes and seconds are those of one chip and one call.

    Attributes:
      step: its name.
      topology: as given.
      device_kind: of its chips.
      chips: how many.
      group: chips that split the weights.
      rows: chunks or frames of a call, over all chips.
      memory: bytes that are in use at once.
      memory_there: bytes of the chip.
      collectives: of each kind.
      sent: bytes, on rings of the chips that take part.
      computing: seconds by the compiler's cycles.
      sending: seconds by the links' rate; latency is left out, and nothing overlaps.
      limit: seconds at least, by the chip's peak and its memory's rate.
    """

    step: str
    topology: str
    device_kind: str
    chips: int
    group: int
    rows: int
    memory: int
    memory_there: float
    collectives: dict[str, int]
    sent: float
    computing: float
    sending: float
    limit: float

    @property
    def rate(self) -> float:
        """Rows per second and chip, as estimated."""
        return self.rows / self.chips / (self.computing + self.sending)

    @property
    def of_limit(self) -> float:
        """The least time over the estimated one."""
        return self.limit / (self.computing + self.sending)


def measured(step: str, topology: str, mesh: Mesh, compiled: Compiled) -> Row:
    """Reads a compiled step."""
    kind = mesh.devices.flat[0].device_kind
    peak = PEAKS[kind]
    if peak.ring is None:
        raise ValueError(f"topology must be of TPUs, got {topology} ({kind})")
    memory = compiled.program.memory_analysis()
    used = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    used += memory.output_size_in_bytes - memory.alias_size_in_bytes
    program = read_program(compiled.program.as_text(), mesh.size)
    return Row(
        step=step,
        topology=topology,
        device_kind=kind,
        chips=mesh.size,
        group=mesh.shape["tensor"],
        rows=compiled.rows,
        memory=used + memory.generated_code_size_in_bytes,
        memory_there=peak.memory,
        collectives=program.collectives,
        sent=program.sent,
        computing=peak.seconds(program.cycles),
        sending=program.sent / peak.ring,
        limit=limit_seconds([compiled.cost], peak, mesh.size),
    )


def efficiency(row: Row, rows: Sequence[Row]) -> float:
    """Its rate per chip over that of the fewest chips of the kind."""
    alike = [each for each in rows if (each.step, each.device_kind) == (row.step, row.device_kind)]
    return row.rate / min(alike, key=lambda each: each.chips).rate


def too_large(rows: Sequence[Row]) -> list[Row]:
    """Those that a chip's memory does not hold."""
    return [row for row in rows if row.memory > row.memory_there]


def markdown(rows: Sequence[Row]) -> str:
    """The table of the documentation."""
    ordered = sorted(rows, key=lambda row: (row.step, row.device_kind, row.chips))
    lines = [HEADER, ("---",) * len(HEADER), *(_cells(row, rows) for row in ordered)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Efficiency against chips, a line for each step and kind of chip."""
    steps = sorted({row.step for row in rows})
    figure, panels = new_figure((3.4 * len(steps), 3.2), len(steps))
    for step, axes in zip(steps, panels, strict=True):
        of_step = sorted((row for row in rows if row.step == step), key=lambda row: row.chips)
        for kind in sorted({row.device_kind for row in of_step}):
            line = [row for row in of_step if row.device_kind == kind]
            values = [100 * efficiency(row, rows) for row in line]
            axes.plot([row.chips for row in line], values, marker="o", label=kind)
        axes.set(title=step, xscale="log", ylim=(0, 110), xlabel="chips")
    panels[0].set_ylabel("rows/s per chip, % of the fewest")
    panels[0].legend()
    save_figure(figure, path)


def _cells(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    return (
        row.step,
        row.topology,
        str(row.chips),
        str(row.group),
        f"{row.rows:,}",
        f"{row.memory / 1e9:.2f}",
        f"{row.memory_there / 1e9:.0f}",
        ", ".join(f"{count} {kind}" for kind, count in row.collectives.items()) or "none",
        f"{row.sent / 1e6:.3g}",
        f"{1e3 * row.computing:.3g}",
        f"{1e3 * row.sending:.2g}",
        f"{row.rate:.3g}",
        f"{100 * efficiency(row, rows):.0f} %",
        f"{100 * row.of_limit:.0f} %",
    )


def figures(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For results.json."""
    return [
        {**dataclasses.asdict(row), "efficiency": efficiency(row, rows), "of_limit": row.of_limit}
        for row in rows
    ]
