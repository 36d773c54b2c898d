"""Compiles every jitted step for TPU pods that need not be there, and says how it scales.

    JAX_PLATFORMS=cpu python -m eval.scaling

Needs the compiler that comes with `rfsq-jax[tpu]`, but no TPU. Each chip keeps its share of rows,
so that more chips do more (weak scaling). Ends with code 1 if a step does not fit in a chip's
memory.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from eval.benchmarks.device_peaks import PEAKS
from eval.benchmarks.topologies import devices_of
from eval.studies.scaling import table
from eval.studies.scaling.steps import STEPS, Step
from rfsq_jax.parallel.sharding import make_mesh
from rfsq_jax.runs.checks import require, require_known
from rfsq_jax.runs.commands import STARTS_AGAIN, command, user_errors
from rfsq_jax.runs.files import atomic_path
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.terminal import progress_bar

COMMAND = "eval.scaling"
NAMES = tuple(step.name for step in STEPS)
TOPOLOGIES = (
    *("v5e:2x2", "v5e:2x4", "v5e:4x8", "v5e:16x16"),
    *("v5p:2x2x1", "v5p:2x2x2", "v5p:4x4x4", "v5p:4x8x8"),
)
"""From 4 to 256 chips. v6e is left out: its compiler takes minutes for heads."""


@dataclasses.dataclass(frozen=True)
class ScalingConfig:
    """What to compile for.

    Attributes:
      topologies: of TPUs, such as v5e:2x4; the fewest chips of a kind are what others are held
        against.
      steps: which.
      output: folder of results.json, table.md and the picture.
    """

    topologies: tuple[str, ...] = TOPOLOGIES
    steps: tuple[str, ...] = NAMES
    output: Path = Path("runs/scaling")

    def __post_init__(self) -> None:
        require_types(self)
        require(len(self.topologies) > 0, "topologies", "at least one", self.topologies)
        require_known(self.steps, NAMES, "steps")


@command(COMMAND, STARTS_AGAIN)
def main(argv: Sequence[str] | None = None) -> int:
    """Compiles, prints the table, and writes it, a picture and results.json."""
    config = parse(ScalingConfig, argv, command=COMMAND, description=__doc__)
    # Looking for a TPU that is not there takes minutes.
    jax.config.update("jax_platforms", "cpu")
    chosen = [step for step in STEPS if step.name in config.steps]
    rows = []
    with progress_bar(len(config.topologies) * len(chosen), "compiling", "program") as bar:
        for topology in config.topologies:
            for step in chosen:
                bar.set_postfix_str(f"{topology}, {step.name}")
                rows.append(compile_step(step, topology))
                bar.update(1)
    text = table.markdown(rows)
    with atomic_path(config.output / "table.md") as path:
        path.write_text(text)
    table.plot(rows, config.output / "scaling.png")
    print(text)
    figures = {"rows": table.figures(rows)}
    print(f"figures: {write_results(config.output, figures=figures, config=config)}")
    for row in table.too_large(rows):
        used, there = row.memory / 1e9, row.memory_there / 1e9
        print(f"{COMMAND}: {row.step} on {row.topology} takes {used:.1f} GB of {there:.1f} GB")
    return int(bool(table.too_large(rows)))


def compile_step(step: Step, topology: str) -> table.Row:
    """Compiles a step for all chips of a topology.

    Raises:
      SystemExit: if the compiler is not installed, or does not know the topology.
    """
    with user_errors(COMMAND):
        devices = devices_of(topology)
        kind = devices[0].device_kind
        require(kind in PEAKS, "topologies", f"of {', '.join(PEAKS)}", kind)
        mesh = make_mesh(tensor=step.group(PEAKS[kind]), devices=devices)
    rows = round(step.rows * mesh.size)
    return table.measured(step.name, topology, mesh, step.compile(mesh, rows))


if __name__ == "__main__":
    sys.exit(main())
