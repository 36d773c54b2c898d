"""What a card takes from a tokenizer."""

from __future__ import annotations

import numpy as np
import pytest

from eval.studies.report_card.card import position_bits, take
from rfsq_jax.tokenizers.bins import BinTokenizer
from rfsq_jax.tokenizers.fast import FastTokenizer
from tests.support.ordered_tokenizers import CosineTokenizer
from tests.support.tokenizers import untrained_tokenizer


class UnevenTokenizer(CosineTokenizer):
    """Its first position takes two bits, the others three."""

    @property
    def prefix_bits(self):
        return tuple(max(0.0, 3.0 * length - 1.0) for length in self.prefix_lengths)


def test_positions_take_the_bits_by_which_prefixes_differ(held_out):
    uneven = UnevenTokenizer(held_out.space)
    assert position_bits(uneven, 56).tolist() == pytest.approx([2.0] + [3.0] * 55)


def test_positions_between_prefixes_share_their_bits(held_out):
    step, bins = untrained_tokenizer(held_out.chunks), BinTokenizer(held_out.space)
    assert position_bits(step, 128).tolist() == pytest.approx([np.log2(7)] * 128)
    assert position_bits(bins, 56).tolist() == pytest.approx([8.0] * 56)
    fast = FastTokenizer.fit(held_out.chunks, scale=4.0, vocab_size=256)
    assert position_bits(fast, 9).tolist() == pytest.approx([np.log2(fast.vocab_size)] * 9)


def test_tokens_of_some_chunks_keep_their_shape():
    rows = np.array([2, 0])
    assert take([[1], [2, 3], [4]], rows) == [[4], [1]]
    np.testing.assert_array_equal(take(np.arange(12).reshape(3, 2, 2), rows)[:, 0, 0], [8, 0])
