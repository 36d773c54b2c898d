"""How a compiled step fits an accelerator: bytes, communication, and seconds by estimate.

A step's time is the sum of three that are taken not to overlap: the cycles that XLA notes on its
instructions, the collectives' bytes at the rate of a ring of chips, and the way around that ring.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import jax

from eval.benchmarks.compiled.hlo import Program, read_program
from eval.benchmarks.device_peaks import Cost, Peak, limit_seconds

HOP_SECONDS = 1e-6
"""From a chip to the next, as the makers of JAX give it in their book on scaling."""


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of one chip, as the compiler allots them; results may lie in donated arguments."""

    arguments: int
    results: int
    donated: int
    temporaries: int
    code: int

    @classmethod
    def of(cls, compiled: Any) -> Memory:
        """What a compiled program takes."""
        sizes = compiled.memory_analysis()
        names = ("argument", "output", "alias", "temp", "generated_code")
        return cls(*(getattr(sizes, f"{name}_size_in_bytes") for name in names))

    @property
    def used(self) -> int:
        """All of it."""
        return self.arguments + self.results - self.donated + self.temporaries + self.code


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Seconds of one step.

    Attributes:
      computing: by the compiler's cycles.
      sending: by the bytes of collectives.
      waiting: for data to go around.
      limit: what no program can go below.
    """

    computing: float
    sending: float
    waiting: float
    limit: float

    @property
    def seconds(self) -> float:
        """All three, one after the other."""
        return self.computing + self.sending + self.waiting

    @property
    def fraction_of_limit(self) -> float:
        """1 where nothing could be faster."""
        return self.limit / self.seconds


class ExceededError(Exception):
    """A chip's memory is too small for a program; the message says what it takes."""


def compile_step(lowered: Any, memory: float) -> tuple[Any, Memory]:
    """Compiles, and checks that a chip of `memory` bytes holds it.

    Raises:
      ExceededError: if it does not.
    """
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise ExceededError(_needed(str(error))) from error
    needed = Memory.of(compiled)
    if needed.used > memory:
        raise ExceededError(f"needs {needed.used / 1e9:.2f} GB of {memory / 1e9:.2f} GB")
    return compiled, needed


def read_step(compiled: Any, chips: int) -> Program:
    """What one call does on one of the chips."""
    return read_program(compiled.as_text() or "", chips)


def estimate(
    program: Program, peak: Peak, torus: tuple[int, ...], cost: Cost, repeats: int
) -> Estimate:
    """Seconds of one of the `repeats` steps of a program.

    Args:
      program: what one call does on one chip.
      peak: of a chip.
      torus: chips along each axis.
      cost: what one chip must do in one call.
      repeats: steps of a call.

    Raises:
      ValueError: if the links' rate is not known.
    """
    if peak.ring is None:
        raise ValueError("peak.ring must be known")
    hops = sum(times * hops_around(group, torus) for group, times in program.rounds.items())
    parts = (
        peak.seconds(program.cycles),
        program.sent / peak.ring,
        hops * HOP_SECONDS,
        limit_seconds([cost], peak),
    )
    return Estimate(*(part / repeats for part in parts))


def hops_around(group: int, torus: tuple[int, ...]) -> int:
    """From the first chip of a group to its last: along each axis for all chips, else in a row."""
    if group == math.prod(torus):
        return sum(size - 1 for size in torus)
    return group - 1


def torus_of(topology: str) -> tuple[int, ...]:
    """Chips along each axis: v5e:2x4 -> (2, 4).

    Raises:
      ValueError: if it is not a chip and its axes.
    """
    if not re.fullmatch(r"v\w+:\d+(x\d+)*", topology):
        raise ValueError(f"topologies must be a chip and its axes, as v5e:2x4, got {topology!r}")
    return tuple(map(int, topology.partition(":")[2].split("x")))


def _needed(error: str) -> str:
    """What the compiler says of the memory, without its allocations one by one."""
    return " ".join(error.partition("RESOURCE_EXHAUSTED: ")[2].splitlines()[:2])
