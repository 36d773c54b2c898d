"""Compiles the full-size OpenVLA for accelerators that need not be there, and says how it fits.

    JAX_PLATFORMS=cpu python -m eval.openvla_topologies

Needs the compilers that come with `rfsq-jax[tpu]` and `rfsq-jax[cuda]`, but none of their devices.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
from jax.sharding import Mesh

from eval.benchmarks.compiled.hlo import read_program
from eval.benchmarks.compiled.topologies import compiler_options, devices_of
from eval.benchmarks.device_peaks import PEAKS, limit_seconds
from eval.benchmarks.openvla.cost import cost_parts, passes
from eval.benchmarks.openvla.programs import chunk, first_token
from eval.benchmarks.openvla.topologies import compile_for
from rfsq_jax.backbones.openvla.config import OPENVLA_7B, OPENVLA_OFT_7B, OpenVLAConfig
from rfsq_jax.backbones.openvla.spreading import make_spread_mesh
from rfsq_jax.parallel.sharding import make_mesh
from rfsq_jax.runs.checks import MAX_SIZE, require, require_choice, require_range
from rfsq_jax.runs.commands import STARTS_AGAIN, command, user_errors
from rfsq_jax.runs.files import atomic_path
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.terminal import progress_bar

COMMAND = "eval.openvla_topologies"
# Name -> sizes, images, and what is computed.
MODELS: dict[str, tuple[OpenVLAConfig, int, Callable[..., Any]]] = {
    "OFT, 2 images + proprio": (OPENVLA_OFT_7B, 2, chunk),
    "base, prefill": (OPENVLA_7B, 1, first_token),
}
# Whole products: a few rows at a time, as they arrive, would leave the matrix units half empty.
SPREAD_OPTIONS = {"xla_jf_spmd_threshold_for_windowed_einsum_mib": "100000"}
HEADER = (
    "topology",
    "chips",
    "model",
    "batch",
    "GB per chip",
    "of",
    "collectives",
    "MB sent per chip",
    "computing, ms",
    "sending, ms",
    "limit, ms",
    "of the limit",
)


@dataclasses.dataclass(frozen=True)
class TopologiesConfig:
    """What to compile for.

    Attributes:
      topologies: of TPUs, as v5e:2x4; or h100.
      data: chips over which a batch is split; the others split the weights.
      batch: samples, a multiple of `data`.
      prompt: tokens.
      sequence: groups of chips over which a sample's tokens are split; within a group the weights
        are. None splits weights only.
      layers: scanned, which compiles fast, or unrolled, so that a TPU fetches a layer's weights
        while it computes the one before.
      output: folder of results.json and table.md.
    """

    topologies: tuple[str, ...] = ("v5e:2x4", "v5e:4x4", "v5p:2x2x1", "h100")
    data: int = 1
    batch: int = 1
    prompt: int = 35
    sequence: int | None = None
    layers: Literal["scanned", "unrolled"] = "scanned"
    output: Path = Path("runs/openvla_topologies")

    def __post_init__(self) -> None:
        require_choice(self.layers, ("scanned", "unrolled"), "layers")
        require_types(self)
        require_range(self, 1, MAX_SIZE, "data", "batch", "prompt")
        if self.batch % self.data:
            raise ValueError(f"batch must be a multiple of data {self.data}, got {self.batch}")
        if self.sequence is not None:
            require_range(self, 1, MAX_SIZE, "sequence")
            require(self.data == 1, "data", "1 with a sequence", self.data)


@command(COMMAND, STARTS_AGAIN)
def main(argv: Sequence[str] | None = None) -> int:
    """Compiles, prints the table, and writes it and results.json."""
    config = parse(TopologiesConfig, argv, command=COMMAND, description=__doc__)
    # Looking for a TPU that is not there takes minutes.
    jax.config.update("jax_platforms", "cpu")
    with user_errors(COMMAND):
        meshes = {each: mesh_of(config, devices_of(each)) for each in config.topologies}
    rows = []
    with progress_bar(len(config.topologies) * len(MODELS), "compiling", "program") as bar:
        for topology, mesh in meshes.items():
            options = compiler_options(topology) | (SPREAD_OPTIONS if config.sequence else {})
            for name in MODELS:
                figures = fit(config, *MODELS[name], mesh, options)
                rows.append({"topology": topology, "model": name, **figures})
                bar.update(1)
    table = markdown(rows)
    with atomic_path(config.output / "table.md") as path:
        path.write_text(table)
    print(table)
    print(f"figures: {write_results(config.output, figures={'rows': rows}, config=config)}")
    return 0


def mesh_of(config: TopologiesConfig, devices: Sequence[Any]) -> Mesh:
    """The devices as the config splits samples and weights.

    Raises:
      ValueError: if they cannot be split like that.
    """
    if config.sequence is not None:
        return make_spread_mesh(config.sequence, devices)
    return make_mesh(min(config.data, len(devices)), tensor=-1, devices=devices)


def fit(
    config: TopologiesConfig,
    model: OpenVLAConfig,
    images: int,
    function: Callable[..., Any],
    mesh: Mesh,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Compiles a model for a mesh and reads how it fits, in bytes and seconds."""
    started = time.perf_counter()
    listed = config.layers == "unrolled"
    sizes = (images, function, config.prompt, config.batch)
    compiled = compile_for(mesh, model, *sizes, options, listed=listed)
    seconds = time.perf_counter() - started
    memory = compiled.memory_analysis()
    program = read_program(compiled.as_text(), mesh.size)
    kind = mesh.devices.flat[0].device_kind
    figures = {
        "chips": mesh.size,
        "mesh": dict(mesh.shape),
        "device_kind": kind,
        "batch": config.batch,
        "argument_bytes": memory.argument_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "output_bytes": memory.output_size_in_bytes,
        "code_bytes": memory.generated_code_size_in_bytes,
        "collectives": program.collectives,
        "bytes_sent": program.sent,
        "compile_seconds": seconds,
    }
    costs = passes(cost_parts(model, images, config.prompt, config.batch))[:1]
    return figures | time_figures(kind, program.cycles, program.sent, costs, mesh.size)


def time_figures(
    kind: str, cycles: int, sent: float, costs: Sequence[Any], chips: int
) -> dict[str, Any]:
    """Seconds by the compiler's cycles, by the links' rate, and at least."""
    if kind not in PEAKS:
        return {}
    peak = PEAKS[kind]
    figures = {"memory_bytes": peak.memory, "limit_seconds": limit_seconds(costs, peak, chips)}
    # GPUs' compiler estimates no cycles.
    if peak.ring is not None and cycles:
        computing, sending = peak.seconds(cycles), sent / peak.ring
        share = figures["limit_seconds"] / (computing + sending)
        figures |= {
            "computing_seconds": computing,
            "sending_seconds": sending,
            "fraction_of_limit": share,
        }
    return figures


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table of the documentation."""
    lines = [HEADER, ("---",) * len(HEADER), *(_cells(row) for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    used = sum(row[f"{name}_bytes"] for name in ("argument", "temporary", "output", "code"))
    seconds = (f"{name}_seconds" for name in ("computing", "sending", "limit"))
    share = row.get("fraction_of_limit")
    return (
        row["topology"],
        str(row["chips"]),
        row["model"],
        str(row["batch"]),
        f"{used / 1e9:.2f}",
        f"{row['memory_bytes'] / 1e9:.1f}" if "memory_bytes" in row else "?",
        ", ".join(f"{count} {kind}" for kind, count in row["collectives"].items()) or "none",
        f"{row['bytes_sent'] / 1e6:.0f}",
        *(f"{1e3 * row[name]:.1f}" if name in row else "?" for name in seconds),
        "?" if share is None else f"{100 * share:.0f} %",
    )


if __name__ == "__main__":
    sys.exit(main())
