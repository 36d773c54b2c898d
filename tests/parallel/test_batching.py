"""Padding adds rows at the end and changes nothing else."""

import jax.numpy as jnp
import numpy as np
import pytest

from rfsq_jax.parallel.batching import BLOCK, in_blocks, pad_rows


@pytest.mark.parametrize(("count", "size", "wanted"), [(1, None, 1), (3, None, 4), (3, 8, 8)])
def test_the_first_row_fills_what_is_missing(count, size, wanted):
    rows = np.arange(2 * count, dtype=np.int32).reshape(count, 2)
    padded = pad_rows(rows, size)
    assert padded.dtype == rows.dtype
    np.testing.assert_array_equal(padded[:count], rows)
    np.testing.assert_array_equal(padded[count:], rows[:1].repeat(wanted - count, axis=0))


@pytest.mark.parametrize("count", [0, 1, 5, BLOCK, 2 * BLOCK + 3])
def test_blocks_join_to_the_whole(count):
    rows = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    sizes = []

    def double(block):
        sizes.append(len(block))
        return jnp.asarray(2 * block)

    np.testing.assert_array_equal(in_blocks(double, rows), 2 * rows)
    assert all(size & (size - 1) == 0 and size <= BLOCK for size in sizes)
