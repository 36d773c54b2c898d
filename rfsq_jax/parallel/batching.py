"""Batches of any size through functions that are compiled for few sizes.

Axes: B rows of any shape · C rows after padding.
"""

from __future__ import annotations

from collections.abc import Callable

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


def in_blocks(
    function: Callable[[Shaped[np.ndarray, "b ..."]], jax.Array], rows: Shaped[np.ndarray, "b ..."]
) -> Shaped[np.ndarray, "b ..."]:
    """Applies a jitted row-wise function in blocks, the last one padded to a power of two.

    So at most log2(BLOCK) + 1 programs are compiled whatever sizes come.
    """
    if len(rows) <= BLOCK:
        return np.asarray(function(pad_rows(rows)))[: len(rows)]
    first = function(rows[:BLOCK])
    output = np.empty((len(rows), *first.shape[1:]), first.dtype)
    pending = (0, first)
    for start in range(BLOCK, len(rows), BLOCK):
        # The next block is dispatched before the last one is fetched.
        result = function(pad_rows(rows[start : start + BLOCK]))
        _store(output, *pending)
        pending = (start, result)
    _store(output, *pending)
    return output


def _store(output: Shaped[np.ndarray, "b ..."], start: int, result: jax.Array) -> None:
    rows = output[start : start + BLOCK]
    rows[:] = np.asarray(result)[: len(rows)]
