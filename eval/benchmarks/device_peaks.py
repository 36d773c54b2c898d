"""What devices can do at most, by their makers' figures, and how long work takes at least."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Peak:
    """One chip.

    Attributes:
      flops: bfloat16, dense, per second.
      bandwidth: of its memory, bytes per second.
      memory: bytes.
      ring: bytes per second that it sends into a ring of chips, both ways together.
      flops_per_cycle: of its matrix units, by which cycles become seconds.
    """

    flops: float
    bandwidth: float
    memory: float
    ring: float | None = None
    flops_per_cycle: int | None = None

    def seconds(self, cycles: float) -> float:
        """How long its matrix units' clock takes."""
        if self.flops_per_cycle is None:
            raise ValueError("flops_per_cycle must be known")
        return cycles * self.flops_per_cycle / self.flops


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a computation must do: floating-point operations, and bytes of memory to read."""

    flops: float
    bytes: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes)


# A matrix unit multiplies 128 by 128 numbers a cycle; a v5e has four, the others eight, a v6e four
# of twice the side.
_MXU = 2 * 128 * 128
# By the names that JAX gives the devices.
PEAKS = {
    "NVIDIA A100-SXM4-80GB": Peak(312e12, 2.039e12, 80e9),
    "NVIDIA H100 80GB HBM3": Peak(989e12, 3.35e12, 80e9),
    "NVIDIA H200": Peak(989e12, 4.8e12, 141e9),
    "TPU v4": Peak(275e12, 1.228e12, 32 * GIB, 90e9, 8 * _MXU),
    "TPU v5 lite": Peak(197e12, 0.819e12, 16 * GIB, 90e9, 4 * _MXU),
    "TPU v5": Peak(459e12, 2.765e12, 95 * GIB, 180e9, 8 * _MXU),
    "TPU v6 lite": Peak(918e12, 1.64e12, 32 * GIB, 180e9, 16 * _MXU),
}


def limit_seconds(passes: Iterable[Cost], peak: Peak, chips: int = 1) -> float:
    """The least time: in each pass the matrix units or the memory is busy throughout."""
    return sum(max(each.flops / peak.flops, each.bytes / peak.bandwidth) / chips for each in passes)
