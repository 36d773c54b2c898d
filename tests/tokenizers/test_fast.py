"""Laws of FAST, against the published description."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rfsq_jax.tokenizers.fast import FastTokenizer
from rfsq_jax.tokenizers.fast_transform import (
    from_coefficients,
    from_text,
    to_coefficients,
    to_text,
    train_bpe,
)

OUT_OF_RANGE = pytest.mark.filterwarnings("ignore::rfsq_jax.data.action_range.OutOfRangeWarning")
X = hnp.arrays(np.float32, (2, 8, 3), elements=st.floats(-2, 2, width=32))
INTEGERS = hnp.arrays(np.int32, (8, 7), elements=st.integers(-20, 35))


def dct_matrix(steps: int) -> np.ndarray:
    """The orthonormal DCT-II from its definition, [frequencies, steps]."""
    k, t = np.mgrid[:steps, :steps]
    weight = np.where(k == 0, math.sqrt(1 / steps), math.sqrt(2 / steps))
    return weight * np.cos(math.pi * (2 * t + 1) * k / (2 * steps))


@given(x=X, scale=st.sampled_from([0.5, 4.0, 10.0]))
def test_coefficients_are_the_rounded_dct_over_time(x, scale):
    exact = np.einsum("kt,bta->bka", dct_matrix(8), x.astype(np.float64)) * scale
    assert np.abs(to_coefficients(x, scale) - exact).max() <= 0.5 + 1e-6


@given(x=X, scale=st.sampled_from([0.5, 4.0, 10.0]))
def test_the_inverse_transform_loses_no_more_than_the_rounding(x, scale):
    error = from_coefficients(to_coefficients(x, scale), scale) - x
    bound = math.sqrt(8) * 0.5 / scale
    assert np.sqrt((error**2).sum(axis=1)).max() <= bound + 1e-4


@given(coefficients=INTEGERS)
def test_text_is_low_frequency_first_with_dims_interleaved(coefficients):
    text = to_text(coefficients, -20)
    for position, character in enumerate(text):
        frequency, dim = divmod(position, 7)
        assert ord(character) == coefficients[frequency, dim] + 20
    np.testing.assert_array_equal(from_text(text, -20).reshape(8, 7), coefficients)


@given(coefficients=hnp.arrays(np.int32, (4, 8, 7), elements=st.integers(-9, 9)))
def test_ids_carry_any_coefficients_in_range_without_loss(fitted, coefficients):
    low, high = fitted.coefficient_range
    coefficients = np.clip(coefficients, low, high)
    ids = fitted.encode_coefficients(coefficients)
    np.testing.assert_array_equal(fitted.decode_coefficients(ids), coefficients)


def test_decoded_actions_are_the_inverse_dct_of_the_coefficients(fitted, chunks):
    decoded = fitted.normalization.normalize(fitted.decode(fitted(chunks)))
    x = np.einsum("kt,bka->bta", dct_matrix(8), fitted.coefficients(chunks) / fitted.scale)
    np.testing.assert_allclose(decoded, x, atol=1e-4)


def test_merges_shorten_the_sequence_below_one_id_per_coefficient(fitted, chunks):
    lengths = [len(ids) for ids in fitted(chunks)]
    assert max(lengths) <= 56
    assert fitted.tokens_per_chunk == pytest.approx(np.mean(lengths))
    assert np.mean(lengths) < 40
    expected = np.mean(lengths) * math.log2(fitted.vocab_size)
    assert fitted.bits_per_chunk == pytest.approx(expected)


def test_merges_match_byte_pair_encoding_by_hand():
    bpe = train_bpe(["\x00\x01\x00\x01\x02"] * 5, alphabet=3, vocab_size=4)
    pieces = {bpe.token_to_id(piece): piece for piece in bpe.get_vocab()}
    assert [pieces[i] for i in bpe.encode("\x00\x01\x02\x00\x01").ids] == [
        "\x00\x01",
        "\x02",
        "\x00\x01",
    ]


def test_a_finer_scale_costs_more_and_errs_less(chunks):
    toks = [FastTokenizer.fit(chunks, scale=scale) for scale in (2.0, 4.0, 10.0, 20.0)]
    errors = [np.mean((tok.decode(tok(chunks)) - chunks) ** 2) for tok in toks]
    assert sorted(errors, reverse=True) == errors
    bits = [tok.bits_per_chunk for tok in toks]
    assert sorted(bits) == bits


def test_fit_is_deterministic(fitted, chunks):
    again = FastTokenizer.fit(chunks, scale=10.0)
    assert again(chunks) == fitted(chunks)


def test_a_single_chunk_is_a_flat_list(fitted, chunks):
    ids = fitted.encode(chunks[0])
    assert ids == fitted(chunks[0])[0] == fitted.encode(chunks[:1])[0]
    np.testing.assert_array_equal(fitted.decode(ids), fitted.decode([ids])[0])


@OUT_OF_RANGE
def test_a_coefficient_that_fit_never_saw_is_an_error_unless_clipped(chunks):
    wild = chunks[:1] * np.float32(40)
    strict = FastTokenizer.fit(chunks, scale=10.0)
    with pytest.raises(ValueError, match=r"coefficients must be in .* at chunk 0, frequency \d"):
        strict(wild)
    clipping = FastTokenizer.fit(chunks, scale=10.0, clip_coefficients=True)
    low, high = clipping.coefficient_range
    found = clipping.decode_coefficients(clipping(wild))
    assert (found.min(), found.max()) == (low, high)


def test_ids_that_spell_no_chunk_are_an_error(fitted, chunks):
    whole = fitted(chunks)[0]
    zero = -fitted.coefficient_range[0]
    with pytest.raises(ValueError, match="chunk 1 must spell 56 coefficients, got 55"):
        fitted.decode([whole, [zero] * 55])
    with pytest.raises(ValueError, match=rf"must be in \[0, {fitted.vocab_size}\)"):
        fitted.decode([[fitted.vocab_size]])
    with pytest.raises(ValueError, match="must spell 56 coefficients, got 0"):
        fitted.decode([[]])
    with pytest.raises(TypeError, match="flat list of integers"):
        fitted.decode([[0.5]])


def test_an_alphabet_larger_than_the_vocabulary_is_refused(chunks):
    with pytest.raises(ValueError, match=r"vocab_size must be at least .* got 16"):
        FastTokenizer.fit(chunks, scale=20.0, vocab_size=16)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_not_positive_is_refused(scale, chunks):
    with pytest.raises(ValueError, match=r"scale must be .*finite"):
        FastTokenizer.fit(chunks, scale=scale)


@pytest.fixture(scope="module")
def fitted(chunks):
    return FastTokenizer.fit(chunks, scale=10.0)
