"""Laws of the uniform bins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rfsq_jax.tokenizers.bins import BinTokenizer, bin_edges, from_bins, to_bins

VALUES = hnp.arrays(np.float32, (5, 3), elements=st.floats(-1, 1, width=32))


@given(x=VALUES, num_bins=st.integers(2, 300))
def test_no_value_moves_by_more_than_half_a_bin(x, num_bins):
    decoded = from_bins(to_bins(x, num_bins), num_bins)
    assert np.abs(decoded - x).max() <= 1 / num_bins + 1e-6


@given(num_bins=st.integers(2, 300))
def test_every_bin_survives_the_round_trip_and_lies_between_its_edges(num_bins):
    bins = np.arange(num_bins, dtype=np.int32)
    centres = from_bins(bins, num_bins)
    np.testing.assert_array_equal(to_bins(centres, num_bins), bins)
    edges = bin_edges(num_bins)
    np.testing.assert_allclose(centres, (edges[:-1] + edges[1:]) / 2, atol=1e-6)


@given(x=VALUES, num_bins=st.integers(2, 300))
def test_bins_agree_with_numpy_digitize_away_from_edges(x, num_bins):
    edges = bin_edges(num_bins)
    away = np.abs(x[..., None] - edges).min(-1) > 1e-5
    oracle = np.digitize(x, edges[1:-1])
    np.testing.assert_array_equal(to_bins(x, num_bins)[away], oracle[away])


def test_values_beyond_the_range_take_the_outer_bins():
    x = np.array([-7.0, 7.0], np.float32)
    assert to_bins(x, 256).tolist() == [0, 255]


def test_eight_bits_for_every_value(chunks):
    tok = BinTokenizer.fit(chunks)
    assert (tok.vocab_size, tok.tokens_per_chunk, tok.bits_per_chunk) == (256, 56, 448.0)


def test_a_call_and_encode_carry_the_same_tokens(chunks):
    tok = BinTokenizer.fit(chunks)
    tokens = tok.encode(chunks[:4])
    assert tokens.shape == (4, 8, 7)
    assert np.array(tok(chunks[:4])).reshape(4, 8, 7).tolist() == tokens.tolist()
    np.testing.assert_array_equal(tok.decode(tok(chunks[:4])), tok.decode(tokens))
    np.testing.assert_array_equal(tok.decode(tok.encode(chunks[0])), tok.decode(tokens)[0])


def test_actions_within_the_quantiles_come_back_to_half_a_bin(chunks):
    tok = BinTokenizer.fit(chunks)
    x, y = (tok.normalization.normalize(a) for a in (chunks, tok.decode(tok.encode(chunks))))
    inside = np.abs(x) <= 1
    assert inside.mean() > 0.95
    assert np.abs(x - y)[inside].max() <= 1 / 256 + 1e-5


def test_bad_tokens_are_refused(chunks):
    tok = BinTokenizer.fit(chunks)
    with pytest.raises(ValueError, match=r"in \[0, 256\), got 0 to 256"):
        tok.decode(np.where(np.arange(7) == 0, 256, 0) * np.ones((8, 7), np.int32))
    with pytest.raises(TypeError, match="integers, got float"):
        tok.decode(np.zeros((8, 7)))
    with pytest.raises(ValueError, match=r"\[B, 8, 7\], got \(7, 7\)"):
        tok.decode(np.zeros((7, 7), np.int32))
    with pytest.raises(ValueError, match="takes 56 ids"):
        tok.decode([[1, 2, 3]])


def test_too_few_bins_are_refused(chunks):
    with pytest.raises(ValueError, match="num_bins must be at least 2, got 1"):
        BinTokenizer.fit(chunks, num_bins=1)
