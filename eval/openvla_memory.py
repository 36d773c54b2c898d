"""How much host memory does loading OpenVLA-7B take?

    python -m eval.openvla_memory

Loads a checkpoint onto the CPU in a process of its own and samples the memory that it holds. By
default the checkpoint is made for it: the published names and sizes, in sparse files, all zeros.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from eval.benchmarks.openvla.memory import measure_apart, write_sparse
from rfsq_jax.backbones.openvla.config import OPENVLA_7B
from rfsq_jax.runs.checks import MAX_DEPTH, require_range
from rfsq_jax.runs.commands import STARTS_AGAIN, command, user_errors
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.terminal import format_table

COMMAND = "eval.openvla_memory"
WANTED_GIB = 4.0


@dataclasses.dataclass(frozen=True)
class MemoryConfig:
    """What is loaded.

    Attributes:
      checkpoint: folder as published, or a copy by `openvla.convert`; by default one is made.
      depth: layers of the language model in the one that is made; the published one has 32.
      output: folder of results.json.
    """

    checkpoint: Path | None = None
    depth: int = OPENVLA_7B.llama.depth
    output: Path = Path("runs/openvla_memory")

    def __post_init__(self) -> None:
        require_types(self)
        require_range(self, 1, MAX_DEPTH, "depth")


@command(COMMAND, STARTS_AGAIN)
def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints a table, writes results.json; fails above the wanted memory."""
    config = parse(MemoryConfig, argv, command=COMMAND, description=__doc__)
    with ExitStack() as stack:
        folder = config.checkpoint
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            llama = dataclasses.replace(OPENVLA_7B.llama, depth=config.depth)
            write_sparse(folder, dataclasses.replace(OPENVLA_7B, llama=llama))
        with user_errors(COMMAND):
            figures = measure_apart(folder)
    write_results(config.output, figures=figures, config=config)
    print(table(figures))
    return 0 if figures["above_gib"] <= WANTED_GIB else 1


def table(figures: dict[str, float]) -> str:
    """One line."""
    row = [
        f"{figures['parameter_bytes'] / 1e9:.2f} GB",
        f"{figures['peak_bytes'] / 1e9:.2f} GB",
        f"{figures['above_gib']:.2f} GiB",
        f"{WANTED_GIB:.0f} GiB",
        f"{figures['seconds']:.1f}",
    ]
    return format_table(["parameters", "peak", "above them", "at most wanted", "seconds"], [row])


if __name__ == "__main__":
    sys.exit(main())
