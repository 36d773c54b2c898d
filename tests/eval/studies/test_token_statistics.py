"""Laws of overlap, entropy and balance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eval.studies.token_statistics import (
    ABSENT,
    adjacency,
    balance,
    overlap_rate,
    pad_ids,
    position_entropies,
    token_statistics,
)

IDS = hnp.arrays(np.int64, (6, 5), elements=st.integers(0, 4))
ALL = np.ones(5, bool)


def test_adjacency_ends_at_the_border_of_an_episode():
    assert adjacency([3, 1, 2]).tolist() == [True, True, False, False, True]
    assert adjacency([2, 0, 1]).tolist() == [True, False]


def test_shorter_lists_are_filled_up_behind_their_end():
    assert pad_ids([[1, 2, 3], [4], []]).tolist() == [[1, 2, 3], [4, ABSENT, ABSENT], [ABSENT] * 3]


@given(ids=IDS)
def test_overlap_counts_equal_neighbours_position_by_position(ids):
    equal = [ids[b][n] == ids[b + 1][n] for b in (0, 2) for n in range(5)]
    adjacent = np.array([True, False, True, False, False])
    assert overlap_rate(ids, adjacent) == pytest.approx(np.mean(equal))


@pytest.mark.parametrize(
    ("one", "other", "rate"),
    [([1, 2], [1, 2, 3, 4], 0.5), ([1, 2], [2, 1], 0.0), ([], [], 1.0), ([], [1], 0.0)],
)
def test_positions_that_only_one_sequence_has_count_as_changed(one, other, rate):
    assert overlap_rate(pad_ids([one, other]), np.ones(1, bool)) == rate


def test_constant_tokens_raise_overlap_but_not_live_overlap():
    ids = np.random.default_rng(0).integers(0, 5, (50, 8))
    ids[:, 2:] = 3
    adjacent = np.ones(49, bool)
    found = token_statistics(ids, adjacent, 5)
    assert found.live_overlap == pytest.approx(overlap_rate(ids[:, :2], adjacent))
    assert found.overlap == pytest.approx(0.75 + 0.25 * found.live_overlap)


@given(ids=IDS)
def test_entropy_is_that_of_the_histogram_and_miller_s_correction(ids):
    for place, found in enumerate(position_entropies(ids, 2**20)):
        share = np.bincount(ids[:, place]) / 6
        plug_in = -sum(p * np.log2(p) for p in share if p)
        assert found == pytest.approx(plug_in + ((share > 0).sum() - 1) / (12 * np.log(2)))


def test_the_correction_takes_most_of_the_bias_of_small_samples():
    ids = np.random.default_rng(0).integers(0, 64, (300, 40))
    plug_in_bias = 63 / (600 * np.log(2))
    assert abs(position_entropies(ids, 10**6).mean() - 6) < 0.25 * plug_in_bias


def test_uniform_ids_use_all_of_the_vocabulary_and_cost_their_full_bits():
    ids = np.tile(np.arange(7)[:, None], (1, 3))
    found = token_statistics(ids, np.ones(6, bool), 7)
    assert found.perplexity == pytest.approx(7.0)
    assert found.entropy_bits == pytest.approx(3 * np.log2(7))
    assert balance(ids, 7).tolist() == pytest.approx([1.0] * 3)
    assert balance(np.zeros_like(ids), 7).tolist() == [0.0] * 3


def test_positions_count_as_often_as_sequences_have_them():
    ids = pad_ids([[0, 0], [1, 1], [0], [1]])
    assert token_statistics(ids, np.ones(3, bool), 2).entropy_bits == pytest.approx(1.5)


def test_overlap_without_neighbours_is_an_error():
    with pytest.raises(ValueError, match="two chunks of one episode"):
        overlap_rate(np.zeros((2, 1), np.int64), np.zeros(1, bool))
