"""One policy for all workers: what they show together, in batches of one fixed size.

A program compiled for another batch size may round in another way. With one size, and rows that
do not see each other, a chunk does not depend on who else asked.

Axes: B batch · T steps of a chunk.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float

from rfsq_jax.data.observations import Observations
from rfsq_jax.parallel.batching import pad_rows
from rfsq_jax.runs.checks import require

ACCELERATOR_BATCH = 8
SAMPLE_SIZE = 48


@runtime_checkable
class Actor(Protocol):
    """What is evaluated."""

    @property
    def horizon(self) -> int:
        """Steps of a chunk."""
        ...

    def act(self, observations: Observations) -> Float[np.ndarray, "b t 7"]:
        """Returns a chunk for every row."""
        ...


class Server:
    """Acts for single environments in batches of `batch` rows; counts and times them.

    Attributes:
      batch: rows of every call.
      answered: environments so far.
      seconds: spent in the policy.
      sample: a few of what was shown, spread over the run, to measure the policy on afterwards.
    """

    def __init__(self, actor: Actor, batch: int) -> None:
        """Compiles nothing yet.

        Raises:
          ValueError: unless `batch` is a power of two, which the policy does not pad further.
        """
        power = batch >= 1 and batch & (batch - 1) == 0
        require(power, "batch", "a power of two", batch)
        self.actor, self.batch = actor, batch
        self.answered, self.seconds = 0, 0.0
        self.sample: list[Observations] = []
        self._rng = np.random.default_rng(0)

    def answer(self, shown: Sequence[Observations]) -> list[Float[np.ndarray, "t 7"]]:
        """Returns one chunk for each of these observations of one environment, in order."""
        began = time.perf_counter()
        parts = [
            _act(self.actor, shown[start : start + self.batch], self.batch)
            for start in range(0, len(shown), self.batch)
        ]
        self.seconds += time.perf_counter() - began
        for each in shown:
            self._count(each)
        return [chunk for part in parts for chunk in part]

    def _count(self, shown: Observations) -> None:
        """Keeps all observations with the same chance, however many there will be."""
        index = self.answered
        if index >= SAMPLE_SIZE:
            index = int(self._rng.integers(self.answered + 1))
        if index < SAMPLE_SIZE:
            # The images lie in memory that the worker writes to again.
            copied = dataclasses.replace(shown, images=shown.images.copy())
            self.sample[index : index + 1] = [copied]
        self.answered += 1


def default_batch() -> int:
    """1 on a CPU, where larger batches are no faster; 8 on an accelerator."""
    return 1 if jax.default_backend() == "cpu" else ACCELERATOR_BATCH


def rows_are_independent(actor: Actor, shown: Observations, batch: int, seed: int = 0) -> bool:
    """Whether a chunk has the same bits in every row of a batch, whatever the other rows show."""
    rng = np.random.default_rng(seed)
    chunks = []
    for row in range(batch):
        rows = [_scrambled(shown, rng) for _ in range(batch)]
        rows[row] = shown
        chunks.append(_act(actor, rows, batch)[row])
    return all(np.array_equal(chunk, chunks[0]) for chunk in chunks)


def _act(actor: Actor, shown: Sequence[Observations], batch: int) -> Float[np.ndarray, "b t 7"]:
    rows = pad_rows(np.arange(len(shown)), batch)
    return actor.act(Observations.stack([shown[row] for row in rows]))[: len(shown)]


def _scrambled(shown: Observations, rng: np.random.Generator) -> Observations:
    images = rng.integers(0, 256, shown.images.shape, dtype=np.uint8)
    noise = rng.normal(size=shown.state.shape).astype(np.float32)
    return dataclasses.replace(shown, images=images, state=shown.state + noise)
