"""What work costs. On a busy machine contestants take turns, ratios are taken within a round."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

# Does some work, waits until it is done, and returns how many units of work it was.
Work = Callable[[], int]


@dataclasses.dataclass(frozen=True)
class Spread:
    """Minimum, median and maximum over rounds."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Summarises one value per round."""
        return cls(min(values), float(np.median(values)), max(values))

    def __str__(self) -> str:
        return f"{self.median:.4g} ({self.minimum:.4g} to {self.maximum:.4g})"


def repeated(call: Callable[[], Any], calls: int) -> Work:
    """The call several times over, each waited for, as a robot waits."""

    def work() -> int:
        for _ in range(calls):
            jax.block_until_ready(call())
        return calls

    return work


def fastest(call: Callable[[], Any], rounds: int = 3) -> float:
    """The least seconds of a call, once warm."""
    return min(take_turns({"": repeated(call, 1)}, rounds)[""])


def flops_of(function: Callable[..., Any], *args: Any) -> float:
    """Compiles a function for these arguments and returns its floating-point operations.

    Raises:
      RuntimeError: if the backend does not count them.
    """
    analysis = jax.jit(function).lower(*args).compile().cost_analysis()
    if analysis is None:
        raise RuntimeError(f"the backend {jax.default_backend()!r} does not count FLOPs")
    return float(analysis["flops"])


def take_turns(
    contestants: Mapping[str, Work],
    rounds: int,
    after_round: Callable[[int], object] = lambda done: None,
) -> dict[str, list[float]]:
    """Returns seconds per unit of work, one figure per round, after one unmeasured round.

    The order is reversed from round to round, so that a machine that slows down slows all alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for work in contestants.values():
        work()
    for index in range(rounds):
        for name in list(contestants)[:: 1 if index % 2 == 0 else -1]:
            start = time.perf_counter()
            units = contestants[name]()
            seconds[name].append((time.perf_counter() - start) / units)
        after_round(1)
    return seconds


def busy_note() -> str:
    """Warns if other programs keep the machine busy, an empty text if not."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load < cores:
        return ""
    return (
        f"other programs keep this machine busy (load {load:.1f}, {cores} cores): run again later"
    )


def rate(seconds: list[float]) -> Spread:
    """Units per second."""
    return Spread.of([1.0 / value for value in seconds])


def ratio(numerator: list[float], denominator: list[float]) -> Spread:
    """How many times as long one takes as the other, round by round."""
    return Spread.of([a / b for a, b in zip(numerator, denominator, strict=True)])
