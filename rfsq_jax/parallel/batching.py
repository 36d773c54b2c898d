"""Batches of any size through functions that are compiled for few sizes.

Axes: B rows of any shape.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Shaped

# Intermediates of a block stay in the processor's cache: blocks of 4096 are three times slower.
BLOCK = 1024


def in_blocks(
    function: Callable[[Shaped[np.ndarray, "b ..."]], jax.Array], rows: Shaped[np.ndarray, "b ..."]
) -> Shaped[np.ndarray, "b ..."]:
    """Applies a jitted row-wise function in blocks, the last one padded to a power of two.

    So at most log2(BLOCK) + 1 programs are compiled whatever sizes come.
    """
    if len(rows) <= BLOCK:
        return np.asarray(function(_padded(rows)))[: len(rows)]
    first = function(rows[:BLOCK])
    output = np.empty((len(rows), *first.shape[1:]), first.dtype)
    pending = (0, first)
    for start in range(BLOCK, len(rows), BLOCK):
        # The next block is dispatched before the last one is fetched.
        result = function(_padded(rows[start : start + BLOCK]))
        _store(output, *pending)
        pending = (start, result)
    _store(output, *pending)
    return output


def _store(output: Shaped[np.ndarray, "b ..."], start: int, result: jax.Array) -> None:
    rows = output[start : start + BLOCK]
    rows[:] = np.asarray(result)[: len(rows)]


def _padded(block: Shaped[np.ndarray, "b ..."]) -> Shaped[np.ndarray, "c ..."]:
    size = 1 << max(len(block) - 1, 0).bit_length()
    if size == len(block):
        return block
    return np.concatenate([block, np.zeros((size - len(block), *block.shape[1:]), block.dtype)])


def padded_rows(leaf: np.ndarray) -> np.ndarray:
    """Pads a batch to a power of two, by its first row, so that few programs are compiled."""
    missing = (1 << (len(leaf) - 1).bit_length()) - len(leaf)
    return np.concatenate([leaf, np.repeat(leaf[:1], missing, axis=0)]) if missing else leaf
