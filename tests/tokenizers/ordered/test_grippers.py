"""Gripper words: counted by formula, exact where they should be, nearest elsewhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfsq_jax.tokenizers.ordered import grippers
from rfsq_jax.tokenizers.ordered.headers import Headers


def switches_of(pattern):
    return sum(a != b for a, b in itertools.pairwise(pattern))


@given(st.integers(1, 10), st.integers(0, 4))
def test_words_are_all_patterns_of_few_switches_once(horizon, most):
    every = [p for p in itertools.product([False, True], repeat=horizon) if switches_of(p) <= most]
    table = [tuple(word) for word in grippers.words(horizon, most).tolist()]
    assert sorted(table) == sorted(every)
    assert len(table) == grippers.num_words(horizon, most)
    assert [switches_of(word) for word in table] == sorted(map(switches_of, table))


@pytest.mark.parametrize(("horizon", "count"), [(8, 58), (16, 242), (32, 994)])
def test_two_switches_take_the_known_numbers_of_words(horizon, count):
    assert grippers.num_words(horizon, 2) == count


@pytest.mark.parametrize("horizon", [4, 8, 16, 32, 64])
def test_words_with_two_switches_come_back(horizon):
    switches = min(2, grippers.most_switches(horizon))
    table = grippers.words(horizon, switches)
    ids = grippers.encode(table, switches)
    np.testing.assert_array_equal(ids, np.arange(len(table)))
    np.testing.assert_array_equal(grippers.decode(ids, horizon, switches), table)
    assert len(table) <= grippers.LARGEST_TABLE


def test_other_patterns_become_a_nearest_word():
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 2, (200, 12)).astype(bool)
    table = grippers.words(12, 2)
    found = grippers.decode(grippers.encode(patterns, 2), 12, 2)
    distances = (patterns[:, None] != table[None]).sum(axis=2).min(axis=1)
    np.testing.assert_array_equal((found != patterns).sum(axis=1), distances)


def test_as_many_switches_are_kept_as_the_data_have_and_the_table_holds():
    calm = np.zeros((3, 8), bool)
    restless = np.tile([True, False], 4)[None]
    assert grippers.fit_switches(calm) == 2
    assert grippers.fit_switches(restless) == 7
    assert grippers.fit_switches(np.tile([True, False], 16)[None]) == 2


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("paths", [1, 2])
def test_headers_say_patterns_and_path_and_take_any_id(count, paths):
    number = max(count, int(paths > 1))
    headers = Headers(8, (2,) * count, paths, (3,) * count if count else (0,) * number)
    rng = np.random.default_rng(count)
    table = grippers.words(8, 2)
    patterns = table[rng.integers(0, len(table), (50, count))].swapaxes(1, 2)
    path = rng.integers(0, paths, 50)
    ids = headers.encode(patterns, path)
    assert ids.shape == (50, len(headers.sizes)) == (50, number)
    found, which = headers.decode(ids)
    np.testing.assert_array_equal(found, patterns)
    np.testing.assert_array_equal(which, path)
    sizes = np.array(headers.sizes, np.int64)
    again, same = headers.decode(ids + sizes)
    np.testing.assert_array_equal(again, patterns)
    np.testing.assert_array_equal(same, path)
    usual, none = headers.decode(ids[:, :0])
    assert (none == 0).all()
    if count:
        np.testing.assert_array_equal(usual[7, :, 0], table[3])
