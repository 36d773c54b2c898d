"""What every baseline refuses."""

from __future__ import annotations

import numpy as np
import pytest

from rfsq_jax.tokenizers import ActionTokenizer
from rfsq_jax.tokenizers.bins import BinTokenizer
from rfsq_jax.tokenizers.fast import FastTokenizer


@pytest.fixture(params=[BinTokenizer, FastTokenizer], ids=["bins", "fast"])
def tok(request, chunks) -> ActionTokenizer:
    return request.param.fit(chunks)


def test_nan_and_inf_are_refused(tok, chunks):
    for bad in (np.nan, np.inf):
        spoiled = chunks.copy()
        spoiled[3, 2, 1] = bad
        with pytest.raises(ValueError, match="finite, got 1 NaN or inf of 16800 values"):
            tok.encode(spoiled)
        with pytest.raises(ValueError, match="finite"):
            type(tok).fit(spoiled)


def test_other_shapes_are_refused(tok, chunks):
    for bad in (chunks[:, :, :6], chunks[:, :7], chunks[0, 0], chunks[None]):
        with pytest.raises(ValueError, match=r"actions must have shape .*, got \("):
            tok.encode(bad)


def test_integers_and_text_are_no_actions(tok, chunks):
    for bad in (chunks.astype(np.int32), chunks.astype(str)):
        with pytest.raises(TypeError, match="actions must be floating point"):
            tok.encode(bad)


def test_no_chunks_are_refused(tok, chunks):
    with pytest.raises(ValueError, match="at least one value"):
        tok.encode(chunks[:0])


def test_float64_actions_encode_like_float32(tok, chunks):
    assert tok(chunks.astype(np.float64)) == tok(chunks)


def test_encoding_leaves_the_actions_alone_and_ignores_the_batch(tok, chunks):
    before = chunks.copy()
    together = tok(chunks[:20])
    assert [tok(chunk)[0] for chunk in chunks[:20]] == together
    np.testing.assert_array_equal(chunks, before)


@pytest.mark.filterwarnings("ignore::rfsq_jax.data.action_range.OutOfRangeWarning")
def test_decoding_decoded_actions_changes_nothing_more(tok, chunks):
    once = tok.decode(tok(chunks))
    assert (once.dtype, once.shape) == (np.float32, chunks.shape)
    np.testing.assert_allclose(tok.decode(tok(once)), once, atol=1e-5)
