"""Laws of overlap, perplexity and entropy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eval.studies.token_statistics import (
    adjacency,
    code_statistics,
    overlap_rate,
    sequence_overlap_rate,
    sequence_statistics,
    symbol_entropies,
)

CODES = hnp.arrays(np.int32, (6, 2, 3, 2), elements=st.integers(0, 4))
ALL = np.ones(5, bool)


def test_adjacency_ends_at_the_border_of_an_episode():
    assert adjacency([3, 1, 2]).tolist() == [True, True, False, False, True]
    assert adjacency([2, 0, 1]).tolist() == [True, False]


@given(codes=CODES)
def test_overlap_counts_equal_neighbours_position_by_position(codes):
    equal = [
        codes[b][position] == codes[b + 1][position]
        for b in (0, 2)
        for position in np.ndindex(codes.shape[1:])
    ]
    adjacent = np.array([True, False, True, False, False])
    assert overlap_rate(codes, adjacent) == pytest.approx(np.mean(equal))


@given(codes=CODES)
def test_fixed_and_varying_length_agree_on_equal_lengths(codes):
    sequences = codes.reshape(len(codes), -1).tolist()
    assert sequence_overlap_rate(sequences, ALL) == pytest.approx(overlap_rate(codes, ALL))


def test_positions_that_only_one_sequence_has_count_as_changed():
    assert sequence_overlap_rate([[1, 2], [1, 2, 3, 4]], np.ones(1, bool)) == 0.5
    assert sequence_overlap_rate([[1, 2], [2, 1]], np.ones(1, bool)) == 0.0


def test_constant_tokens_raise_overlap_but_not_live_overlap():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 5, (50, 2, 3, 4)).astype(np.int32)
    codes[..., 1:] = 3
    statistics = code_statistics(codes, np.ones(49, bool))
    assert statistics.live_overlap == pytest.approx(overlap_rate(codes[..., :1], np.ones(49, bool)))
    assert statistics.overlap == pytest.approx(0.75 + 0.25 * statistics.live_overlap)
    assert statistics.perplexity[1:] == [1.0, 1.0, 1.0]


@given(codes=CODES)
def test_entropy_is_that_of_the_histogram(codes):
    for position, layer in np.ndindex(codes.shape[2:]):
        share = np.bincount(codes[:, :, position, layer].ravel()) / 12
        expected = -sum(p * np.log2(p) for p in share if p)
        assert symbol_entropies(codes)[position, layer] == pytest.approx(expected, abs=1e-9)


def test_uniform_codes_use_every_level_and_cost_their_full_bits():
    codes = np.tile(np.arange(7, dtype=np.int32)[:, None, None, None], (1, 2, 3, 2))
    statistics = code_statistics(codes, np.ones(6, bool))
    assert statistics.perplexity == pytest.approx([7.0, 7.0])
    assert statistics.entropy_bits == pytest.approx(2 * 3 * 2 * np.log2(7))


def test_a_uniform_stream_of_ids_has_the_perplexity_of_its_alphabet():
    statistics = sequence_statistics([[0, 1, 2, 3], [3, 2, 1, 0]], np.ones(1, bool))
    assert statistics.perplexity == pytest.approx([4.0])
    assert statistics.entropy_bits == pytest.approx(8.0)


def test_overlap_without_neighbours_is_an_error():
    with pytest.raises(ValueError, match="two chunks of one episode"):
        overlap_rate(np.zeros((2, 1), np.int32), np.zeros(1, bool))
