"""Batches of any size through functions that are compiled for few sizes.

Axes: B rows of any shape · C rows after padding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Shaped

# Intermediates of a block stay in the processor's cache: blocks of 4096 are three times slower.
BLOCK = 1024


def pad_rows(
    rows: Shaped[np.ndarray, "b ..."], size: int | None = None
) -> Shaped[np.ndarray, "c ..."]:
    """Repeats the first row at the end until there are `size` rows, a power of two by default."""
    if size is None:
        size = 1 << max(len(rows) - 1, 0).bit_length()
    if len(rows) == size:
        return rows
    filler = rows[:1] if len(rows) else np.zeros((1, *rows.shape[1:]), rows.dtype)
    return np.concatenate([rows, np.repeat(filler, size - len(rows), axis=0)])


def in_blocks(function: Callable[[Any], Any], rows: Any) -> Any:
    """Applies a jitted row-wise function in blocks, the last one padded to a power of two.

    So at most log2(BLOCK) + 1 programs are compiled whatever sizes come.

    Args:
      function: of an array [B, ...], or of a tree of them; returns such a tree.
      rows: what it takes, on the host, with any B.

    Returns:
      numpy arrays as the function's, of all rows.
    """
    total = len(jax.tree.leaves(rows)[0])

    def run(start: int) -> Any:
        return function(jax.tree.map(lambda leaf: pad_rows(leaf[start : start + BLOCK]), rows))

    first = run(0)
    if total <= BLOCK:
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:total], first)
    output = jax.tree.map(lambda leaf: np.empty((total, *leaf.shape[1:]), leaf.dtype), first)
    pending = (0, first)
    for start in range(BLOCK, total, BLOCK):
        # The next block is dispatched before the last one is fetched.
        result = run(start)
        _store(output, *pending)
        pending = (start, result)
    _store(output, *pending)
    return output


def _store(output: Any, start: int, result: Any) -> None:
    def copy(leaf: Shaped[np.ndarray, "b ..."], block: jax.Array) -> None:
        rows = leaf[start : start + BLOCK]
        rows[:] = np.asarray(block)[: len(rows)]

    jax.tree.map(copy, output, result)
