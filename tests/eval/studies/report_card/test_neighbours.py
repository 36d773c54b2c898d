"""Neighbours and their ranks, against plain loops and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from eval.studies.report_card.neighbours import (
    hamming_distances,
    nearest,
    neighbour_ranks,
    prefix_distances,
    rank_correlation,
)
from eval.studies.token_statistics import ABSENT, pad_ids

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(60, 5))


def test_the_nearest_are_those_of_a_plain_search():
    found = nearest(POINTS, 4)
    for row, near in enumerate(found):
        distances = np.linalg.norm(POINTS - POINTS[row], axis=1)
        assert near.tolist() == np.argsort(distances)[1:5].tolist()
    assert nearest(POINTS[:3], 10).shape == (3, 2)


def test_token_distances_are_those_of_plain_loops():
    sequences = [RNG.integers(0, 2, size).tolist() for size in RNG.integers(1, 6, 12)]
    ids = pad_ids(sequences)
    near = np.array([[(row + 1) % 12, (row + 5) % 12] for row in range(12)])
    for row in range(12):
        for k in range(2):
            one, other = sequences[row], sequences[near[row, k]]
            longer = max(len(one), len(other))
            filled = [each + [ABSENT] * (longer - len(each)) for each in (one, other)]
            differ = [a != b for a, b in zip(*filled, strict=True)]
            assert hamming_distances(ids, near)[row, k] == sum(differ)
            first = differ.index(True) if any(differ) else longer
            assert prefix_distances(ids, near)[row, k] == longer - first


def test_correlation_is_spearman_s_and_nothing_for_equal_values():
    one, other = RNG.normal(size=(7, 9)), RNG.integers(0, 4, (7, 9))
    expected = [np.asarray(spearmanr(a, b))[0] for a, b in zip(one, other, strict=True)]
    assert rank_correlation(one, other) == pytest.approx(np.mean(expected))
    assert rank_correlation(one, -one) == pytest.approx(-1)
    assert rank_correlation(one, np.ones((7, 9))) == 0


def test_lossless_codes_keep_all_ranks_and_constant_ones_none():
    ids = np.arange(60)[:, None]
    assert neighbour_ranks(POINTS, POINTS, ids).decoded == pytest.approx(1.0)
    lost = neighbour_ranks(POINTS, np.zeros_like(POINTS), ids)
    assert (lost.decoded, lost.hamming, lost.prefix) == (0, 0, 0)


def test_digits_of_a_number_keep_ranks_in_prefixes():
    values = np.sort(RNG.random(300))
    digits = (values[:, None] * 2.0 ** np.arange(1, 11)).astype(int) % 2
    found = neighbour_ranks(values[:, None], values[:, None], digits)
    shuffled = neighbour_ranks(values[:, None], values[:, None], digits[RNG.permutation(300)])
    assert found.prefix > 0.4
    assert abs(shuffled.prefix) < 0.1


def test_noise_costs_ranks():
    little, much = (POINTS + size * RNG.normal(size=POINTS.shape) for size in (0.01, 1.0))
    ids = np.zeros((60, 1), int)
    assert neighbour_ranks(POINTS, little, ids).decoded > 0.98
    assert neighbour_ranks(POINTS, much, ids).decoded < 0.8
