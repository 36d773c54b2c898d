"""What does not decode is counted, and what does is measured."""

from __future__ import annotations

import numpy as np
import pytest

from eval.studies.report_card.damage import damage, decode_each, one_wrong, random_sequences
from rfsq_jax.tokenizers.bins import BinTokenizer
from rfsq_jax.tokenizers.fast import FastTokenizer
from tests.support.tokenizers import untrained_tokenizer

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def fast(held_out):
    return FastTokenizer.fit(held_out.chunks, scale=10.0, vocab_size=512)


def measured(tokenizer, held_out, count=40):
    chunks = held_out.chunks[:count]
    return damage(tokenizer, tokenizer(chunks), chunks, held_out.space, np.random.default_rng(1))


@pytest.mark.parametrize("name", ["bins", "step", "ordered"])
def test_codes_of_fixed_length_always_decode(name, held_out, ordered):
    makers = {
        "bins": lambda: BinTokenizer(held_out.space),
        "step": lambda: untrained_tokenizer(held_out.chunks),
        "ordered": lambda: ordered,
    }
    found = measured(makers[name](), held_out).malformed
    assert (found.real, found.one_error, found.random) == (0, 0, 0)


def test_fast_often_does_not(fast, held_out):
    found = measured(fast, held_out).malformed
    assert found.real == 0
    assert found.one_error > 0.3
    assert found.random > 0.8


def test_each_sequence_is_decoded_or_refused_as_it_would_be_alone(fast, held_out):
    sequences = fast(held_out.chunks[:20])
    sequences[3::4] = [ids[:-1] for ids in sequences[3::4]]
    fine, decoded = decode_each(fast, sequences)
    assert fine.tolist() == [index % 4 != 3 for index in range(20)]
    for index in np.flatnonzero(fine):
        np.testing.assert_array_equal(decoded[index], fast.decode([sequences[index]])[0])
    np.testing.assert_allclose(fast.normalization.normalize(decoded[~fine]), 0, atol=1e-6)


def test_the_next_id_of_a_cosine_code_costs_one_step_of_its_grid(ordered, held_out):
    tokens = ordered.encode(held_out.chunks[:40])
    sequences, chunks = ordered.flatten(tokens), ordered.decode(tokens)
    found = damage(ordered, sequences, chunks, held_out.space, np.random.default_rng(0))
    step = 2 * ordered.reach / (ordered.levels - 1)
    assert found.next == pytest.approx([step**2 / 56] * 16, rel=1e-3)
    assert min(found.other) > 10 * step**2 / 56
    assert found.places[0] == 0
    assert found.places[-1] == 1


def test_wrong_ids_are_wrong_in_one_place_and_legal():
    ids = [0, 4, 2, 4]
    for place, index in ((0.0, 0), (0.4, 1), (1.0, 3)):
        for kind in ("other", "next"):
            wrong = one_wrong(ids, place, 5, RNG, kind)
            assert [k for k in range(4) if wrong[k] != ids[k]] == [index]
            assert 0 <= wrong[index] < 5
            assert kind == "other" or abs(wrong[index] - ids[index]) == 1
    assert ids == [0, 4, 2, 4]


def test_other_ids_are_equally_likely():
    found = [one_wrong([2], 0.0, 4, RNG, "other")[0] for _ in range(3000)]
    counts = np.bincount(found, minlength=4)
    assert counts[2] == 0
    assert counts[[0, 1, 3]] == pytest.approx([1000] * 3, abs=150)


def test_random_sequences_are_as_long_as_the_given_ones():
    found = random_sequences([[0] * 3, [1] * 7], 6, RNG)
    assert [len(ids) for ids in found] == [3, 7]
    assert set(np.concatenate(random_sequences([[0] * 500], 6, RNG)).tolist()) == set(range(6))
