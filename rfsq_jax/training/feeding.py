"""Batches from the host, read ahead while the device works.

Axes: M steps of one call · B rows of a batch · N rows of the data.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

from rfsq_jax.runs.checks import require, require_positive


@dataclasses.dataclass(frozen=True)
class Feed:
    """Rows in a random order that depends on the seed and the step alone; every row once an epoch.

    Attributes:
      read: arrays with leading axes [M, B] of the rows int [M, B]; called in a thread.
      num_rows: N.
      batch_size: B, over all processes.
      steps: M, steps per call.
      seed: of the order.
    """

    read: Callable[[Int[np.ndarray, "m b"]], Any]
    num_rows: int
    batch_size: int
    steps: int
    seed: int

    def __post_init__(self) -> None:
        require_positive(self, "num_rows")
        wanted = f"a multiple of the {jax.process_count()} processes"
        require(self.batch_size % jax.process_count() == 0, "batch_size", wanted, self.batch_size)

    def rows(self, first_step: int) -> Int[np.ndarray, "m b"]:
        """The rows of the call that begins at `first_step`."""
        start = first_step * self.batch_size
        places = np.arange(start, start + self.steps * self.batch_size)
        epochs = places // self.num_rows
        rows = np.empty_like(places)
        for epoch in np.unique(epochs):
            order = np.random.default_rng((self.seed, int(epoch))).permutation(self.num_rows)
            inside = epochs == epoch
            rows[inside] = order[places[inside] % self.num_rows]
        return rows.reshape(self.steps, self.batch_size)

    def batches(self, first_step: int) -> Any:
        """This process's share of the call's batches, on the host."""
        share = self.batch_size // jax.process_count()
        mine = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
        return self.read(np.ascontiguousarray(self.rows(first_step)[:, mine]))


def prefetch(feed: Feed, first_steps: Sequence[int], mesh: Mesh) -> Iterator[Any]:
    """Yields each call's batches, on the device; the next one is read meanwhile.

    Raises:
      whatever reading raises, when its turn comes.
    """
    sharding = NamedSharding(mesh, PartitionSpec(None, ("data", "fsdp")))

    def load(step: int) -> Any:
        return jax.tree.map(
            lambda leaf: jax.make_array_from_process_local_data(sharding, leaf),
            feed.batches(step),
        )

    with concurrent.futures.ThreadPoolExecutor(1, "feed") as pool:
        pending: concurrent.futures.Future[Any] | None = None
        for step in first_steps:
            ready, pending = pending, pool.submit(load, step)
            if ready is not None:
                yield ready.result()
        if pending is not None:
            yield pending.result()
