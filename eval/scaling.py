"""Compiles every jitted step for TPU pods that need not be there, and says how it scales.

    JAX_PLATFORMS=cpu python -m eval.scaling

The batch of a chip, or of a group of chips that share weights, stays the same (weak scaling). Needs
the compiler that comes with `rfsq-jax[tpu]`. Ends with code 1 if a step exceeds a chip's memory.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from eval.benchmarks.compiled.fit import torus_of
from eval.benchmarks.scaling.measuring import Maker, Row, measure, mesh_of
from eval.benchmarks.scaling.openvla_steps import features_step, policy_step
from eval.benchmarks.scaling.report import efficiency, exceeded, markdown, plot
from eval.benchmarks.scaling.training_steps import autoencoder_step, heads_step, ordered_step
from rfsq_jax.runs.checks import MAX_SIZE, require, require_known, require_range
from rfsq_jax.runs.claims import hold_folder
from rfsq_jax.runs.commands import BROKEN_OFF, command, opened, user_errors
from rfsq_jax.runs.files import atomic_path
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.terminal import progress_bar

COMMAND = "eval.scaling"
# By the option that gives the batch.
STEPS: dict[str, Maker] = {
    "autoencoder": autoencoder_step,
    "ordered": ordered_step,
    "heads": heads_step,
    "features": features_step,
    "policy": policy_step,
}


@dataclasses.dataclass(frozen=True)
class ScalingConfig:
    """What to compile, and for what.

    Attributes:
      topologies: of TPUs.
      steps: which of them.
      autoencoder: chunks on each chip in a training step of the autoencoder.
      ordered: the same of the ordered tokenizer.
      heads: samples on each chip in a training step of the heads.
      features: samples on each group of chips that extracts OpenVLA-OFT's features.
      policy: robots that each group of chips answers at once.
      jobs: programs that are compiled at once, on a core each.
      output: folder of results.json, table.md, scaling.png and what was read off each program.
    """

    topologies: tuple[str, ...] = (
        *("v5e:2x2", "v5e:2x4", "v5e:8x8", "v5e:16x16"),
        *("v5p:2x2x1", "v5p:4x8x8"),
        *("v6e:2x2", "v6e:16x16"),
    )
    steps: tuple[str, ...] = tuple(STEPS)
    autoencoder: int = 64
    ordered: int = 256
    heads: int = 64
    features: int = 16
    policy: int = 1
    jobs: int = 2
    output: Path = Path("runs/scaling")

    def __post_init__(self) -> None:
        require_types(self)
        require_range(self, 1, MAX_SIZE, *STEPS, "jobs")
        require(len(self.topologies) > 0, "topologies", "at least one", self.topologies)
        require(len(self.steps) > 0, "steps", "at least one", self.steps)
        require_known(self.steps, STEPS, "steps")
        for topology in self.topologies:
            torus_of(topology)


@command(COMMAND)
def main(argv: Sequence[str] | None = None) -> int:
    """Compiles, prints the table, and writes it, the plot and results.json."""
    config = parse(ScalingConfig, argv, command=COMMAND, description=__doc__)
    # Looking for a TPU that is not there takes minutes.
    jax.config.update("jax_platforms", "cpu")
    with opened(COMMAND, hold_folder(config.output)):
        with user_errors(COMMAND):
            for topology in config.topologies:
                mesh_of(topology)
        rows = measure_all(config)
        table = markdown(rows)
        with atomic_path(config.output / "table.md") as path:
            path.write_text(table)
        plot(rows, config.output / "scaling.png")
        figures = {"rows": [_figures(row, rows) for row in rows]}
        results = write_results(config.output, figures=figures, config=config)
    print(table)
    print(f"figures: {results}")
    if problem := exceeded(rows):
        print(f"{COMMAND}: {problem}", file=sys.stderr)
        return BROKEN_OFF
    return 0


def measure_all(config: ScalingConfig) -> list[Row]:
    """Every step on every topology; what an earlier run compiled is not compiled again."""
    jobs = [(name, topology) for name in config.steps for topology in config.topologies]
    known = config.output / "programs"

    def one(job: tuple[str, str]) -> Row:
        name, topology = job
        return measure(name, topology, STEPS[name], getattr(config, name), known)

    with (
        concurrent.futures.ThreadPoolExecutor(config.jobs, "compile") as pool,
        progress_bar(len(jobs), "compiling", "program") as bar,
    ):
        pending = [pool.submit(one, job) for job in jobs]
        try:
            for done in concurrent.futures.as_completed(pending):
                done.result()
                bar.update(1)
        except BaseException:
            # Only what is being compiled is waited for.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [each.result() for each in pending]


def _figures(row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    return dataclasses.asdict(row) | {"efficiency": efficiency(row, rows)}


if __name__ == "__main__":
    sys.exit(main())
