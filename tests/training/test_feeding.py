"""Batches from the host."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfsq_jax.parallel import sharding
from rfsq_jax.training.feeding import Feed, prefetch


def rows_of(rows: np.ndarray) -> np.ndarray:
    return rows


@given(st.integers(1, 50), st.integers(1, 9), st.integers(1, 4), st.integers(0, 5))
def test_every_row_comes_once_an_epoch_whatever_the_call(num_rows, batch_size, steps, seed):
    feed = Feed(rows_of, num_rows, batch_size, steps, seed)
    calls = -(-2 * num_rows // (batch_size * steps))
    stream = np.concatenate([feed.rows(call * steps).reshape(-1) for call in range(calls)])
    for epoch in range(2):
        part = stream[epoch * num_rows : (epoch + 1) * num_rows]
        np.testing.assert_array_equal(np.sort(part), np.arange(num_rows))


def test_the_order_depends_on_seed_and_step_alone():
    feeds = [Feed(rows_of, 20, 4, 3, seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(feeds[0].rows(6), feeds[1].rows(6))
    assert (feeds[0].rows(6) != feeds[2].rows(6)).any()


def test_prefetch_yields_every_call_in_order_on_the_mesh():
    feed = Feed(rows_of, 64, 16, 2, 0)
    mesh = sharding.make_mesh()
    got = list(prefetch(feed, [4, 6, 8], mesh))
    assert len(got) == 3
    for step, rows in zip([4, 6, 8], got, strict=True):
        np.testing.assert_array_equal(rows, feed.rows(step))
        assert len(rows.sharding.device_set) == mesh.size


def test_an_error_while_reading_surfaces():
    def broken(rows: np.ndarray) -> np.ndarray:
        raise ValueError("shard 3 is damaged")

    with pytest.raises(ValueError, match="shard 3 is damaged"):
        list(prefetch(Feed(broken, 64, 16, 2, 0), [0], sharding.make_mesh()))


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="num_rows must be at least 1"):
        Feed(rows_of, 0, 4, 1, 0)
