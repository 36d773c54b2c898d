"""Actions beyond what a tokenizer was fitted on: said once, refused or clipped; of every kind."""

from __future__ import annotations

import dataclasses
import warnings

import jax
import numpy as np
import pytest

from rfsq_jax import ActionTokenizer, Policy
from rfsq_jax.data.action_range import NAMED, ActionRange, OutOfRangeWarning, apply_check
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.rfsq import RFSQConfig
from rfsq_jax.tokenizers import autoencoder
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.tokenizers.bins import BinTokenizer
from rfsq_jax.tokenizers.fast import FastTokenizer
from rfsq_jax.tokenizers.step import StepTokenizer

KINDS = ("step", "bins", "fast")
LOW = np.array([-0.3, -0.3, -0.3, -0.1, -0.1, -0.1, -1.0], np.float32)


@pytest.fixture(scope="module")
def narrow() -> np.ndarray:
    """float32 [64, 8, 7] that fills a range of +-LOW."""
    rng = np.random.default_rng(0)
    motion = rng.uniform(-1, 1, (64, 8, 7)) * -LOW
    motion[0, 0], motion[0, 1] = LOW, -LOW
    motion[..., 6] = np.sign(motion[..., 6])
    return motion.astype(np.float32)


def fitted(kind: str, chunks: np.ndarray) -> ActionTokenizer:
    """A new one, which has warned of nothing."""
    if kind == "fast":
        return FastTokenizer.fit(chunks, clip_coefficients=True)
    if kind == "bins":
        return BinTokenizer.fit(chunks)
    config = AutoencoderConfig(7, 8, RFSQConfig(dim=3, num_layers=2))
    params, state = autoencoder.init(config, jax.random.key(0))
    return StepTokenizer(config, params, state, ActionSpace.fit(chunks))


@pytest.fixture(params=KINDS)
def tok(request, narrow) -> ActionTokenizer:
    return fitted(request.param, narrow)


def beyond(narrow: np.ndarray, **dims: float) -> np.ndarray:
    """Three chunks, the second with a constant command on some dims."""
    chunks = narrow[:3].copy()
    for dim, command in dims.items():
        chunks[1, :, int(dim[1:])] = command
    return chunks


def test_all_commands_at_minus_one_are_reported(tok):
    with pytest.warns(OutOfRangeWarning) as said:
        tok.encode(np.full((8, 7), -1.0))
    text = str(said[0].message)
    assert "translation x -1 (fitted -0.3 to 0.3)" in text
    assert "rotation z -1 (fitted -0.1 to 0.1)" in text
    assert "gripper" not in text, "it is one of its commands"
    assert "1 of 1 chunks" in text


@pytest.mark.parametrize("command", [-1.0, 1.0])
def test_rotations_at_their_ends_are_reported(tok, narrow, command):
    spoiled = beyond(narrow, d3=command)
    expected = rf"rotation x {command:g} \(fitted -0.1 to 0.1\); 1 of 3 chunks"
    with pytest.warns(OutOfRangeWarning, match=expected):
        tok(spoiled)
    for encode in (tok.encode, tok):
        with pytest.raises(ValueError, match=expected):
            encode(spoiled, check="raise")


def test_it_is_said_once_per_tokenizer(tok, narrow):
    spoiled = beyond(narrow, d0=0.9)
    with pytest.warns(OutOfRangeWarning):
        tok.encode(spoiled)
    with warnings.catch_warnings(record=True, action="always") as said:
        tok.encode(spoiled)
        tok(spoiled)
    assert not said


def test_what_was_fitted_is_inside_up_to_rounding(tok, narrow):
    edge = np.nextafter(np.broadcast_to(LOW, (8, 7)), -2, dtype=np.float32)
    for chunks in (narrow, narrow.astype(np.float64), edge):
        tok.encode(chunks, check="raise")


def test_clipping_is_clipping_by_hand(tok, narrow):
    spoiled = beyond(narrow, d0=0.9, d5=-1.0)
    by_hand = np.clip(spoiled, LOW, -LOW)
    assert tok(spoiled, check="clip") == tok(by_hand)
    clipped, wanted = tok.encode(spoiled, check="clip"), tok.encode(by_hand)
    np.testing.assert_array_equal(np.asarray(clipped, object), np.asarray(wanted, object))


def test_the_range_travels_and_is_no_part_of_the_version(tok, narrow, tmp_path):
    tok.save_pretrained(tmp_path / "it")
    loaded = ActionTokenizer.from_pretrained(tmp_path / "it")
    with pytest.raises(ValueError, match=r"translation y 0\.5"):
        loaded.encode(beyond(narrow, d1=0.5), check="raise")
    assert loaded.space.to_dict()["range"] == tok.space.to_dict()["range"]
    loaded.space = ActionSpace(tok.horizon, tok.normalization, tok.space.spec)
    assert "range" not in loaded.space.to_dict()
    assert loaded.version == tok.version


def test_without_a_range_nothing_can_be_checked():
    fitted_to = ActionTokenizer.from_pretrained("libero").space
    tok = BinTokenizer(dataclasses.replace(fitted_to, range=None))
    wild = np.full((8, 7), -1.0)
    tok.encode(wild)
    for check in ("raise", "clip"):
        with pytest.raises(ValueError, match=f"check must be 'warn'.*again.*got '{check}'"):
            tok.encode(wild, check=check)


def test_an_unknown_check_is_refused(tok, narrow, unchecked_types):
    for encode in (tok.encode, tok):
        with pytest.raises(ValueError, match=r"check must be one of .*; did you mean 'clip'"):
            encode(narrow, check="clipp")


def test_what_is_bundled_keeps_its_version():
    assert ActionTokenizer.from_pretrained("libero").version == "2e403a447ed3ce86"
    expected = "cccc94f106f96b515ea5001ee1b805b31dc646444b27e5e83831e871f16b71e7"
    assert Policy.from_pretrained("small").version == expected


def test_many_dims_are_counted():
    chunks = np.ones((2, 3, 20), np.float32)
    known = ActionRange(np.zeros(20, np.float32), np.ones(20, np.float32))
    assert apply_check(chunks, known, [str(dim) for dim in range(20)], "warn")[1] is None
    _, found = apply_check(2 * chunks, known, [str(dim) for dim in range(20)], "warn")
    assert found is not None
    assert found.count("(fitted 0 to 1)") == NAMED
    assert "and 12 more dims; 2 of 2 chunks" in found


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ([0.0, np.nan], [1.0, 1.0], "range must be finite"),
        ([0.0, 2.0], [1.0, 1.0], "low at most high"),
        ([0.0], [1.0, 1.0], "of one length"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(low, high, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        ActionRange(np.array(low, np.float32), np.array(high, np.float32))


def test_absurd_actions_do_not_become_codes(narrow):
    wild = beyond(narrow, d0=1e30)
    with pytest.raises(ValueError, match="below 1e\\+06 in normalised units, got"):
        fitted("step", narrow).encode_chunks(wild)


@pytest.mark.parametrize("dims", [range(7), [3], [4], [5]], ids=str)
def test_the_bundled_tokenizer_knows_what_it_was_fitted_on(dims):
    """Legal commands that its demonstrations never give come back as others."""
    tok = ActionTokenizer.from_pretrained("libero")
    still = np.zeros((1, 8, 7), np.float32)
    still[..., 6] = -1.0
    assert np.abs(tok.decode(tok.encode(still, check="raise")) - still).max() < 0.05
    legal = still.copy()
    legal[..., list(dims)] = -1.0
    assert np.abs(tok.decode(tok.encode(legal, check="clip")) - legal).max() > 0.5
    with pytest.raises(ValueError, match="actions must lie in the range that was fitted"):
        tok.encode(legal, check="raise")
