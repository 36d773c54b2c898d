"""Tokens and files that make no sense are named, whatever the kind."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from rfsq_jax import ActionTokenizer
from rfsq_jax.data.action_space import ActionSpace, Normalization
from rfsq_jax.rfsq import RFSQConfig
from rfsq_jax.tokenizers import autoencoder, tokenizer_class
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.tokenizers.bins import BinTokenizer
from rfsq_jax.tokenizers.fast import FastTokenizer
from rfsq_jax.tokenizers.step import StepTokenizer


@pytest.fixture(scope="module", params=["step", "bins", "fast"])
def tok(request, chunks) -> ActionTokenizer:
    if request.param == "fast":
        return FastTokenizer.fit(chunks)
    if request.param == "bins":
        return BinTokenizer.fit(chunks)
    config = AutoencoderConfig(7, 8, RFSQConfig(dim=3, num_layers=2))
    params, state = autoencoder.init(config, jax.random.key(0))
    return StepTokenizer(config, params, state, ActionSpace.fit(chunks))


def spoil(ids: list[int], value: Any) -> list[list[Any]]:
    return [ids, [value, *ids[1:]]]


BAD = {
    "none": lambda ids: None,
    "text": lambda ids: "abc",
    "dictionary": lambda ids: {"tokens": ids},
    "floats": lambda ids: [[float(each) for each in ids]],
    "bools": lambda ids: [[bool(each) for each in ids]],
    "strings": lambda ids: [[str(each) for each in ids]],
    "a none inside": lambda ids: spoil(ids, None),
    "a string inside": lambda ids: spoil(ids, "1"),
    "a fraction inside": lambda ids: spoil(ids, 0.5),
    "negative": lambda ids: spoil(ids, -1),
    "beyond the vocabulary": lambda ids: spoil(ids, 10**6),
    "beyond int64": lambda ids: spoil(ids, 2**63),
    "beyond uint64": lambda ids: spoil(ids, 2**70),
    "cut": lambda ids: [ids, ids[:-1]],
    "ragged": lambda ids: [[[1], [1, 2]], [[1, 2], [1]]],
    "masked": lambda ids: np.ma.masked_equal(np.array([ids]), ids[0]),
    "masked rows": lambda ids: [np.ma.masked_equal(ids, ids[0])] * 2,
    "float array": lambda ids: np.array([ids], np.float32),
    "dates": lambda ids: np.array([ids], "datetime64[s]"),
    "deep": lambda ids: np.zeros((1, 1, 1, 1, 1, 1), int),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_tokens_are_named(tok, chunks, bad):
    with pytest.raises((TypeError, ValueError), match=r"^(tokens|codes|every chunk) .*, got "):
        tok.decode(BAD[bad](tok(chunks[0])[0]))


def test_no_chunks_decode_to_none(tok, chunks):
    tokens = tok.encode(chunks[:2])
    if isinstance(tokens, np.ndarray):
        assert tok.decode(tokens[:0]).shape == (0, 8, 7)
    with pytest.raises(ValueError, match=r"^(tokens|codes) .*, got "):
        tok.decode([])


def described(tok: ActionTokenizer) -> tuple[type[ActionTokenizer], dict[str, Any]]:
    return tokenizer_class(tok.kind), tok.config_dict()


def test_its_parts_make_it_again(tok, chunks):
    cls, config = described(tok)
    again = cls.from_parts(tok.space, config, tok.arrays())
    assert (again.version, again(chunks[:3])) == (tok.version, tok(chunks[:3]))


def test_a_missing_or_unknown_key_is_named(tok):
    cls, config = described(tok)
    for name in config:
        rest = {key: value for key, value in config.items() if key != name}
        expected = rf"config: {name} is missing|config must be whole.*{name}|{name} must be"
        with pytest.raises(ValueError, match=expected):
            cls.from_parts(tok.space, rest, tok.arrays())
    with pytest.raises(ValueError, match="config: colour is unknown"):
        cls.from_parts(tok.space, {**config, "colour": 1}, tok.arrays())


def test_a_value_of_another_type_is_named(tok):
    cls, config = described(tok)
    for name in config:
        with pytest.raises(ValueError, match=f"{name} must be .*, got"):
            cls.from_parts(tok.space, {**config, name: "x"}, tok.arrays())


@pytest.fixture(scope="module")
def fast(chunks) -> FastTokenizer:
    return FastTokenizer.fit(chunks)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "bpe is no tokenizer: "),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}}, "bpe is no"),
        ({"model": {"type": "BPE", "vocab": {"\x00": 0}, "merges": []}}, r"\d+ missing and 0 unk"),
        ({"normalizer": {"type": "Lowercase"}}, "bpe.normalizer must be absent"),
        ({"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}, "must be BPE"),
    ],
)
def test_merges_that_do_not_fit_are_refused(fast, change, message):
    config = fast.config_dict()
    config["bpe"] = {**config["bpe"], **change}
    with pytest.raises(ValueError, match=message):
        FastTokenizer.from_parts(fast.space, config, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coefficient_range": [0, 3]}, "bpe vocabulary must be of the 4 characters"),
        ({"coefficient_range": [0]}, "coefficient_range.1 is missing"),
        ({"mean_tokens": 0}, "mean_tokens must be above 0"),
        ({"scale": -1.0}, "scale must be positive"),
    ],
)
def test_numbers_of_fast_that_do_not_fit_are_refused(fast, change, message):
    with pytest.raises(ValueError, match=message):
        FastTokenizer.from_parts(fast.space, {**fast.config_dict(), **change}, {})


def test_huge_coefficients_do_not_wrap(chunks):
    fast = FastTokenizer.fit(chunks)
    wild = chunks[:1] * np.float32(1e9)
    with pytest.raises(ValueError, match="coefficients must be in"):
        fast.encode_chunks(wild)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", ["params", "quantizer"])
def test_weights_must_be_finite(chunks, place, bad):
    config = AutoencoderConfig(7, 8, RFSQConfig(dim=3, num_layers=2))
    params, state = autoencoder.init(config, jax.random.key(0))
    tok = StepTokenizer(config, params, state, ActionSpace.fit(chunks))
    arrays = jax.tree.map(np.array, tok.arrays())
    leaf = jax.tree.leaves(arrays[place])[0]
    leaf.flat[0] = bad
    with pytest.raises(ValueError, match=rf"{place}/.* must be finite, got .*1 NaN or inf"):
        StepTokenizer.from_parts(tok.space, tok.config_dict(), arrays)


SPACE = {"horizon": 2, "normalization": {"low": [0.0, 0.0], "high": [1.0, 1.0]}}
GRIPPER = {"kind": "gripper", "size": 1, "unit": 1.0, "bounds": [0.0, 1.0]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizon": -8}, "horizon must be at least 1"),
        ({"horizon": 10**9}, "horizon must be at most 65536"),
        ({"horizon": 8.0}, "horizon must be a valid integer"),
        ({"horizon": None}, "horizon must be a valid integer"),
        ({"normalization": None}, "normalization must be an object"),
        ({"normalization": {"low": [0.0]}}, "normalization.high is missing"),
        ({"normalization": {"low": [0.0], "high": ["1"]}}, "normalization.high.0 must be"),
        (
            {"normalization": {"low": [0.0], "high": [1.0, 1.0]}},
            "must be of one length",
        ),
        ({"normalization": {"low": [], "high": []}}, "of one length"),
        ({"normalization": {"low": [2.0, 0.0], "high": [1.0, 1.0]}}, "low at most high"),
        ({"normalization": {"low": [0.0, 0.0], "high": [1e300, 1.0]}}, "must be finite"),
        ({"normalization": {"low": [-3e38, 0.0], "high": [3e38, 1.0]}}, "low must be below high"),
        ({"action_spec": {"groups": [GRIPPER]}}, "of the spec's 1 dims, got 2"),
        ({"action_spec": {"groups": [{"kind": "wing"}]}}, "action_spec.groups.0"),
        ({"action_spec": {"groups": []}}, "groups must be at least one"),
        ({"range": {"low": [0.0], "high": [1.0]}}, "range must be of the spec's 2 dims, got 1"),
        ({"range": {"low": [0.0, 2.0], "high": [1.0, 1.0]}}, "range must be low at most high"),
    ],
)
def test_spaces_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ValueError, match=rf"^file\.json: .*{message}"):
        ActionSpace.from_dict({**SPACE, **change}, "file.json")


def test_a_space_travels():
    space = ActionSpace.from_dict({**SPACE, "range": SPACE["normalization"]})
    assert ActionSpace.from_dict(space.to_dict()).to_dict() == space.to_dict()
    with pytest.raises(ValueError, match=r"^here: low is missing"):
        Normalization.from_dict({"high": [1.0]}, "here")
