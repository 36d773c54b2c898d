"""Means over held-out rows: the devices share every block, and only sums leave them.

Axes: B rows of a block · N rows in all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from rfsq_jax.parallel.batching import pad_rows
from rfsq_jax.parallel.sharding import batch_parts, batch_sharding
from rfsq_jax.training.feeding import Read, read_onto

RowValues = Callable[[Any, Any], dict[str, Float[Array, " b"]]]
"""(parameters, batch) -> one value per row, by name."""
Means = Callable[[Any, Read, int], dict[str, float]]
"""(parameters, read, N) -> the values' means over all rows."""


def row_means(values: RowValues, mesh: Mesh, block: int) -> Means:
    """Returns a function of parameters, `read` and the number of rows.

    Args:
      values: traceable; a row's values must not depend on the other rows.
      mesh: its data and fsdp axes share the rows.
      block: about so many rows at once.
    """
    parts = batch_parts(mesh)
    size, placed = parts * -(-block // parts), batch_sharding(mesh)

    @jax.jit
    def sums(params: Any, batch: Any, weight: Array) -> dict[str, Array]:
        found = values(params, batch)
        return {name: jnp.sum(jnp.where(weight, value, 0.0)) for name, value in found.items()}

    def means(params: Any, read: Read, num_rows: int) -> dict[str, float]:
        totals: dict[str, Array] = {}
        for start in range(0, num_rows, size):
            rows = np.arange(start, min(start + size, num_rows))
            padded = pad_rows(rows, size)
            is_row = np.arange(size) < len(rows)
            weight = read_onto(is_row.__getitem__, np.arange(size), placed)
            found = sums(params, read_onto(read, padded, placed), weight)
            totals = {name: totals.get(name, 0.0) + total for name, total in found.items()}
        return {name: float(total) / num_rows for name, total in totals.items()}

    return means
