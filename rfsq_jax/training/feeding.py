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
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Int

from rfsq_jax.parallel.sharding import batch_sharding, require_divisible
from rfsq_jax.runs.checks import require_positive

Read = Callable[[Int[np.ndarray, "*m"]], Any]
"""Gives arrays, with the leading axes of the rows that it is asked for."""


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

    read: Read
    num_rows: int
    batch_size: int
    steps: int
    seed: int

    def __post_init__(self) -> None:
        require_positive(self, "num_rows")

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


def read_onto(read: Read, rows: Int[np.ndarray, "*m b"], sharding: NamedSharding) -> Any:
    """Arrays of rows on a mesh, split over their last axis; each process reads its own part."""
    parts = sharding.addressable_devices_indices_map(rows.shape).values()
    places = np.arange(rows.shape[-1])
    mine = np.unique([places[index[-1]] for index in parts if index is not None])
    local = read(np.ascontiguousarray(rows[..., mine]))

    def put(leaf: np.ndarray) -> jax.Array:
        shape = (*rows.shape, *leaf.shape[rows.ndim :])
        return jax.make_array_from_process_local_data(sharding, leaf, shape)

    return jax.tree.map(put, local)


def prefetch(feed: Feed, first_steps: Sequence[int], mesh: Mesh) -> Iterator[Any]:
    """Yields each call's batches, on the devices; the next one is read meanwhile.

    Raises:
      ValueError: if the batch cannot be split over the mesh.
      whatever reading raises, when its turn comes.
    """
    require_divisible(feed.batch_size, mesh)
    sharding = batch_sharding(mesh, axis=1)

    def load(step: int) -> Any:
        return read_onto(feed.read, feed.rows(step), sharding)

    with concurrent.futures.ThreadPoolExecutor(1, "feed") as pool:
        pending: concurrent.futures.Future[Any] | None = None
        for step in first_steps:
            ready, pending = pending, pool.submit(load, step)
            if ready is not None:
                yield ready.result()
        if pending is not None:
            yield pending.result()
