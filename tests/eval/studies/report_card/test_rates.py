"""Curves of error against bits: fixed, cut per chunk, interpolated."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfsq_jax.data.errors import reconstruction_errors
from rfsq_jax.tokenizers.bins import BinTokenizer
from rfsq_jax.tokenizers.fast import FastTokenizer
from rfsq_jax.tokenizers.rates import (
    PrefixErrors,
    cut_curve,
    fixed_curve,
    log_interpolate,
    prefix_errors,
    ratios,
    tolerance_curve,
)
from tests.support.tokenizers import untrained_tokenizer


def random_errors(seed: int, count: int = 5, prefixes: int = 4) -> PrefixErrors:
    rng = np.random.default_rng(seed)
    bits = np.broadcast_to(np.cumsum(rng.uniform(1, 10, prefixes)), (count, prefixes))
    errors = {"mse": rng.random((count, prefixes)), "max_error": rng.random((count, prefixes))}
    return PrefixErrors(np.broadcast_to(np.arange(prefixes), (count, prefixes)), bits, errors)


@pytest.fixture(scope="module")
def measured(ordered, held_out):
    return prefix_errors(ordered, ordered.encode(held_out.chunks), held_out.chunks, held_out.space)


def test_fixed_points_are_the_errors_of_each_prefix(ordered, held_out, measured):
    tokens = ordered.encode(held_out.chunks)
    points = fixed_curve(measured)
    assert [point.tokens for point in points] == list(range(57))
    for length in (0, 7, 56):
        decoded = ordered.decode_prefix(tokens, length)
        expected = reconstruction_errors(held_out.chunks, decoded, held_out.space)
        assert points[length].errors == pytest.approx(expected)
        assert points[length].bits == pytest.approx(length * math.log2(127))


def test_step_tokenizers_have_a_point_per_layer_and_bins_one(held_out):
    step, bins = untrained_tokenizer(held_out.chunks), BinTokenizer(held_out.space)
    for tokenizer, tokens in ((step, [32, 64, 96, 128]), (bins, [56])):
        found = prefix_errors(
            tokenizer, tokenizer.encode(held_out.chunks), held_out.chunks, held_out.space
        )
        assert [point.tokens for point in fixed_curve(found)] == tokens
        assert fixed_curve(found)[-1].bits == pytest.approx(tokenizer.bits_per_chunk)


def test_fast_costs_the_mean_of_its_lengths(held_out):
    fast = FastTokenizer.fit(held_out.chunks, scale=4.0, vocab_size=256)
    tokens = fast.encode(held_out.chunks)
    (point,) = fixed_curve(prefix_errors(fast, tokens, held_out.chunks, held_out.space))
    assert point.tokens == pytest.approx(np.mean([len(ids) for ids in tokens]))
    assert point.bits == pytest.approx(point.tokens * math.log2(fast.vocab_size))


@given(seed=st.integers(0, 1000), price=st.floats(1e-4, 1.0))
def test_no_other_prefixes_are_cheaper_at_the_price(seed, price):
    measured = random_errors(seed)
    (cut,) = cut_curve(measured, [price])
    costs = measured.errors["mse"] + price * measured.bits
    assert cut.mse + price * cut.bits == pytest.approx(costs.min(axis=1).mean())
    for point in fixed_curve(measured):
        assert cut.mse + price * cut.bits <= point.mse + price * point.bits + 1e-12


def test_cheaper_bits_buy_a_lower_error(measured):
    points = cut_curve(measured)
    assert len(points) > 10
    assert all(a.bits < b.bits and a.mse >= b.mse for a, b in itertools.pairwise(points))


@given(seed=st.integers(0, 1000), tolerance=st.floats(0.01, 1.0))
def test_a_cut_by_tolerance_is_the_first_prefix_that_keeps_it(seed, tolerance):
    measured = random_errors(seed)
    (point,) = tolerance_curve(measured, [tolerance])
    chosen = [
        next((k for k, error in enumerate(row) if error <= tolerance), len(row) - 1)
        for row in measured.errors["max_error"]
    ]
    assert point.tokens == pytest.approx(np.mean(chosen))
    assert point.mse == pytest.approx(np.mean(measured.errors["mse"][range(5), chosen]))


def exponential(bits, factor=1.0):
    return [(each, factor * 0.5 * 2.0 ** (-each / 10)) for each in bits]


def test_interpolation_is_exact_where_the_log_falls_with_the_bits():
    curve = exponential([30.0, 80.0, 200.0])
    for bits in (30.0, 44.0, 80.0, 200.0, 209.0):
        assert log_interpolate(curve, bits) == pytest.approx(exponential([bits])[0][1])


@pytest.mark.parametrize("bits", [28.0, 211.0])
def test_nothing_is_known_far_beyond_the_ends(bits):
    assert math.isnan(log_interpolate(exponential([30.0, 80.0, 200.0]), bits))


def test_a_single_point_is_known_at_its_own_bits():
    assert log_interpolate([(448.0, 1e-3)], 448.0) == pytest.approx(1e-3)
    assert math.isnan(log_interpolate([(448.0, 1e-3)], 440.0))


def test_ratios_compare_at_the_other_s_bits():
    fast, ours = exponential([33, 59, 105]), exponential(range(20, 120, 7), factor=0.25)
    assert ratios(fast, ours) == pytest.approx([4.0] * 3)
    assert ratios(fast, fast) == pytest.approx([1.0] * 3)
    assert math.isnan(ratios([(500.0, 1e-6)], ours)[0])
