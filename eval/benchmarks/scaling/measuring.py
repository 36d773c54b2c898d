"""Compiles a step for a topology, or finds what an earlier run read off the same program."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from eval.benchmarks.compiled import hlo
from eval.benchmarks.compiled.fit import (
    Estimate,
    ExceededError,
    Memory,
    compile_step,
    estimate,
    read_step,
    torus_of,
)
from eval.benchmarks.compiled.flops import matmul_flops
from eval.benchmarks.compiled.hlo import Program
from eval.benchmarks.compiled.topologies import devices_of
from eval.benchmarks.device_peaks import PEAKS, Cost
from eval.benchmarks.scaling.step import Step
from rfsq_jax.parallel.sharding import make_mesh
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.descriptions import read_sealed, write_sealed
from rfsq_jax.runs.files import atomic_path

COMPILERS = ("jax", "jaxlib", "libtpu")
Maker = Callable[[Mesh, int], Step]


@dataclasses.dataclass(frozen=True)
class Row:
    """One step on one topology.

    Attributes:
      step: its name.
      topology: such as v5e:2x4.
      chips: in all.
      batch: samples of a step over all chips.
      group: chips that share the weights.
      repeats: steps of one call, which `program` is.
      capacity: bytes of a chip's memory.
      memory: what is used of it; None where that is too little.
      program: what a chip does; None likewise.
      estimate: of one step; None likewise.
      exceeded: why it does not fit; None where it does.
    """

    step: str
    topology: str
    chips: int
    batch: int
    group: int
    repeats: int
    capacity: float
    memory: Memory | None = None
    program: Program | None = None
    estimate: Estimate | None = None
    exceeded: str | None = None

    @property
    def family(self) -> str:
        """The chip."""
        return self.topology.partition(":")[0]

    @property
    def samples_per_chip_second(self) -> float | None:
        """By the estimate; None where the step does not fit."""
        if self.estimate is None:
            return None
        return self.batch / self.chips / self.estimate.seconds


@functools.cache
def mesh_of(topology: str) -> Mesh:
    """All chips of a topology along the data axis.

    Raises:
      ValueError: if the compiler does not know it, or its chips' figures are not known.
      NotInstalledError: if the compiler is not installed.
    """
    size = torus_of(topology)
    try:
        devices = devices_of(topology)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"topologies must be known to libtpu, got {topology!r}: {reason}"
        ) from error
    kind = devices[0].device_kind
    require(kind in PEAKS, "topologies", f"of {', '.join(PEAKS)}", f"{topology} of {kind}")
    mesh = make_mesh(devices=devices)
    require(
        mesh.size == functools.reduce(int.__mul__, size),
        "topologies",
        "of one core a chip",
        topology,
    )
    return mesh


def measure(name: str, topology: str, maker: Maker, batch: int, known: Path) -> Row:
    """Compiles a step, unless the folder `known` has its figures already."""
    mesh = mesh_of(topology)
    step, peak = maker(mesh, batch), PEAKS[mesh.devices.flat[0].device_kind]
    traced = step.function.trace(*step.arguments)
    lowered = traced.lower()
    row = Row(name, topology, mesh.size, step.batch, step.group, step.repeats, peak.memory)
    path = known / f"{name}-{topology.replace(':', '-')}-{_version(lowered, topology)}.json"
    if path.is_file():
        found = read_sealed(path)
    else:
        found = _compile(lowered, peak.memory, mesh.size)
        with atomic_path(path) as temporary:
            write_sealed(temporary, found)
    if found["exceeded"] is not None:
        return dataclasses.replace(row, exceeded=found["exceeded"])
    memory, program = Memory(**found["memory"]), _program(found["program"])
    moved = memory.arguments - step.looked_up + memory.donated
    cost = Cost(matmul_flops(traced.jaxpr) / mesh.size, moved)
    seconds = estimate(program, peak, torus_of(topology), cost, step.repeats)
    return dataclasses.replace(row, memory=memory, program=program, estimate=seconds)


def _compile(lowered: Any, memory: float, chips: int) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        compiled, needed = compile_step(lowered, memory)
    except ExceededError as error:
        return {"exceeded": str(error)}
    return {
        "exceeded": None,
        "memory": dataclasses.asdict(needed),
        "program": dataclasses.asdict(read_step(compiled, chips)),
        "compile_seconds": time.perf_counter() - started,
    }


def _program(found: dict[str, Any]) -> Program:
    """JSON has no numbers as keys."""
    rounds = {int(group): times for group, times in found["rounds"].items()}
    return dataclasses.replace(Program(**found), rounds=rounds)


def _version(lowered: Any, topology: str) -> str:
    """Of what is compiled, for what, by what, and how it is read."""
    versions = [importlib.metadata.version(name) for name in COMPILERS if _installed(name)]
    text = "\n".join([lowered.as_text(), topology, *versions, inspect.getsource(hlo)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
