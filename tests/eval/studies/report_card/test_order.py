"""The counted model finds the entropy of sources whose entropy is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eval.studies.report_card.order import next_token_entropy
from eval.studies.token_statistics import ABSENT


def entropy(shares: np.ndarray) -> float:
    known = shares[shares > 0]
    return float(-(known * np.log2(known)).sum())


def markov(transitions: np.ndarray, start: np.ndarray, count: int, length: int) -> np.ndarray:
    """Sequences [count, length] of a chain, by inverse sampling."""
    rng = np.random.default_rng(0)
    ids = np.zeros((count, length), np.int64)
    ids[:, 0] = rng.choice(len(start), count, p=start)
    edges = transitions.cumsum(axis=1)
    for place in range(1, length):
        ids[:, place] = (rng.random(count)[:, None] > edges[ids[:, place - 1]]).sum(axis=1)
    return ids


def test_a_markov_chain_costs_its_entropy_rate():
    transitions = np.array([[0.9, 0.1, 0.0], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]])
    stationary = np.full(3, 1 / 3)
    rate = float(np.mean([entropy(row) for row in transitions]))
    ids = markov(transitions, stationary, 12_000, 6)
    found = next_token_entropy(ids[:8_000], ids[8_000:], 3)
    assert found.entropy[0] == pytest.approx(math.log2(3), abs=0.01)
    assert found.entropy[1:] == pytest.approx([rate] * 5, abs=0.03)
    assert found.bits == pytest.approx(math.log2(3) + 5 * rate, abs=0.1)


def test_independent_ids_cost_their_full_bits():
    ids = np.random.default_rng(0).integers(0, 8, (6_000, 4))
    found = next_token_entropy(ids[:4_000], ids[4_000:], 8)
    assert found.entropy == pytest.approx([3.0] * 4, abs=0.05)


@pytest.mark.parametrize("distance", [1, 16, 64, 100])
def test_a_copy_of_an_earlier_token_costs_nearly_nothing(distance):
    """At any near distance, at a power of two, and from the start of the sequence."""
    ids = np.random.default_rng(0).integers(0, 4, (4_000, 101))
    ids[:, 100] = ids[:, 100 - distance]
    found = next_token_entropy(ids[:3_000], ids[3_000:], 4)
    assert found.positions[-1] == 100
    assert found.entropy[-1] < 0.05
    assert found.entropy[0] == pytest.approx(2.0, abs=0.05)


def test_two_tokens_together_tell_what_neither_does():
    ids = np.random.default_rng(0).integers(0, 4, (6_000, 3))
    ids[:, 2] = (ids[:, 0] + ids[:, 1]) % 4
    assert next_token_entropy(ids[:4_000], ids[4_000:], 4).entropy[2] < 0.1


def test_contexts_met_once_do_not_look_like_order():
    """The plug-in entropy of these would be near 0; the truth is 10 bits."""
    ids = np.random.default_rng(0).integers(0, 1024, (3_000, 4))
    found = next_token_entropy(ids[:2_000], ids[2_000:], 1024)
    assert min(found.entropy) > 9.9


@pytest.mark.parametrize(("sizes", "trend"), [((8, 4, 2), -1), ((2, 4, 8), 1)])
def test_the_trend_tells_falling_from_rising(sizes, trend):
    rng = np.random.default_rng(0)
    ids = np.stack([rng.integers(0, size, 2_000) for size in sizes], axis=1)
    assert next_token_entropy(ids[:1_000], ids[1_000:], 8).trend == pytest.approx(trend)


def test_positions_that_few_sequences_have_are_left_out():
    ids = np.random.default_rng(0).integers(0, 4, (2_000, 3))
    ids[:, 1:][::2] = ABSENT
    ids[5:, 2] = ABSENT
    found = next_token_entropy(ids[:1_000], ids[1_000:], 4)
    assert found.positions == [0, 1]
    assert found.present == [1.0, 0.5]
    assert found.bits == pytest.approx(3.0, abs=0.1)
    nothing = next_token_entropy(ids[:5], ids[5:10], 4)
    assert nothing.positions == []
    assert math.isnan(nothing.first)
    assert math.isnan(nothing.bits)
