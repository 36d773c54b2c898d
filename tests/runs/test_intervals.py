"""Intervals and tests against independent computations."""

import itertools

import numpy as np
import pytest
from scipy import stats

from rfsq_jax.runs.intervals import Z95, compare, mcnemar, wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (1, 2), (19, 20), (20, 20), (475, 500)])
def test_wilson_is_scipys(successes, trials):
    expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_matches_its_definition():
    # The bounds are the p that solve (rate - p)^2 = z^2 p (1 - p) / n.
    low, high = wilson(475, 500)
    for bound in (low, high):
        assert (0.95 - bound) ** 2 == pytest.approx(Z95**2 * bound * (1 - bound) / 500)
    assert low < 0.95 < high


def test_wilson_of_the_protocol():
    low, high = wilson(475, 500)
    assert (high - low) / 2 == pytest.approx(0.019, abs=5e-4)


def test_wilson_covers():
    rng = np.random.default_rng(0)
    for true in (0.7, 0.9, 0.97):
        hits = [low <= true <= high for low, high in
                (wilson(int(k), 200) for k in rng.binomial(200, true, 2000))]  # fmt: skip
        assert 0.93 < np.mean(hits) < 0.985


@pytest.mark.parametrize("counts", [(-1, 3), (4, 3), (0, 0)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="trials"):
        wilson(*counts)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 5), (3, 9), (6, 6), (1, 0)])
def test_mcnemar_counts_all_coin_throws(first, second):
    n = first + second
    throws = [sum(each) for each in itertools.product((0, 1), repeat=n)]
    extreme = [abs(heads - n / 2) >= abs(first - n / 2) for heads in throws]
    assert mcnemar(first, second) == pytest.approx(np.mean(extreme))


def test_compare_counts_pairs():
    first = [True] * 50 + [True] * 2 + [False] * 14 + [False] * 4
    second = [True] * 50 + [False] * 2 + [True] * 14 + [False] * 4
    paired = compare(first, second)
    assert (paired.both, paired.first, paired.second, paired.neither) == (50, 2, 14, 4)
    assert paired.difference == pytest.approx(12 / 70)
    assert paired.interval[0] < paired.difference < paired.interval[1]
    assert paired.p_value == pytest.approx(stats.binomtest(2, 16).pvalue)
    swapped = compare(second, first)
    assert swapped.difference == -paired.difference
    assert swapped.p_value == paired.p_value


def test_the_paired_interval_covers():
    rng, hits = np.random.default_rng(1), []
    for _ in range(1000):
        hard = rng.random(100)
        first, second = (
            hard < 0.7,
            np.where(rng.random(100) < 0.8, hard < 0.8, rng.random(100) < 0.8),
        )
        low, high = compare(first.tolist(), second.tolist()).interval
        hits.append(low <= 0.1 <= high)
    assert 0.92 < np.mean(hits) < 0.99


@pytest.mark.parametrize(("first", "second"), [([True], []), ([], [])])
def test_unequal_lists_are_refused(first, second):
    with pytest.raises(ValueError, match="as many episodes"):
        compare(first, second)
