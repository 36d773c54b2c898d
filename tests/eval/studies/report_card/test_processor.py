"""Processors of Hugging Face: trusted only when asked to, their failures counted, not hidden."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from eval.studies.report_card.candidates import given
from eval.studies.report_card.card import measure
from eval.studies.report_card.config import TokenizersConfig
from eval.studies.report_card.cost import bytes_on_disk
from eval.studies.report_card.processor import ProcessorTokenizer
from rfsq_jax.runs.checks import NotInstalledError
from tests.support.processors import CODE, write_processor

needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="needs transformers"
)


@pytest.fixture(scope="module")
def modules(tmp_path_factory) -> Path:
    """Where transformers keeps the code that it runs; not in the user's home."""
    return tmp_path_factory.mktemp("modules")


@pytest.fixture(autouse=True)
def own_modules(modules, monkeypatch):
    if importlib.util.find_spec("transformers") is not None:
        monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(modules))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_processor(tmp_path_factory.mktemp("processor") / "cosine")


def load(folder: Path, held_out) -> ProcessorTokenizer:
    options = {"folder": folder, "trust_remote_code": True}
    return ProcessorTokenizer.fit_chunks(held_out.space, held_out.chunks, **options)


def test_no_code_is_run_unless_it_is_trusted(tmp_path, held_out):
    stop = "raise AssertionError('run')"
    folder = write_processor(tmp_path / "stop", code=stop)
    with pytest.raises(ValueError, match="trust_remote_code must be set to run the Python code in"):
        ProcessorTokenizer.fit_chunks(held_out.space, held_out.chunks, folder=folder)


def test_what_is_missing_is_named(folder, held_out, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotInstalledError, match=r"needs transformers: install rfsq-jax\[torch\]"):
        load(folder, held_out)


@needs_transformers
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('broken')", "holds no processor that can be loaded: broken"),
        (CODE.replace("def decode(", "def undo("), "bad cannot decode the ids"),
        (CODE.replace("def __call__(", "def encode("), "bad cannot encode the actions"),
        (CODE.replace("vocab_size =", "words =").replace("self.vocab_size", "self.words"), "style"),
    ],
    ids=["broken", "no decode", "no call", "no vocab_size"],
)
def test_a_folder_that_holds_none_is_refused(tmp_path, held_out, code, message):
    folder = write_processor(tmp_path / "bad", code)
    with pytest.raises(ValueError, match=message):
        load(folder, held_out)


@needs_transformers
def test_it_encodes_and_decodes_like_a_tokenizer_of_ours(folder, held_out):
    tokenizer = load(folder, held_out)
    tokens = tokenizer.encode(held_out.chunks)
    normalize = held_out.space.normalization.normalize
    error = normalize(tokenizer.decode(tokens)) - normalize(held_out.chunks)
    assert np.abs(error).max() < 8**0.5 * 0.05 * 1.01
    assert tokenizer.tokens_per_chunk == 57
    assert tokenizer.vocab_size == 256
    assert tokenizer.prefix_lengths == ()
    assert bytes_on_disk(tokenizer) == sum(path.stat().st_size for path in folder.iterdir())


@needs_transformers
def test_zeros_in_place_of_an_error_are_an_error(folder, held_out, capsys):
    tokenizer = load(folder, held_out)
    (ids,) = tokenizer.encode(held_out.chunks[:1])
    with pytest.raises(ValueError, match="tokens of chunk 1 must be ids that decode"):
        tokenizer.decode([ids, [*ids[:-1], (ids[-1] + 1) % 256]])
    with pytest.raises(ValueError, match="tokens of chunk 0 must be ids that decode"):
        tokenizer.decode([ids[:-1]])
    assert capsys.readouterr().out == ""


@needs_transformers
def test_a_chunk_that_is_zero_still_decodes(folder, held_out):
    tokenizer = load(folder, held_out)
    zero = held_out.space.normalization.denormalize(np.zeros((1, 8, 7), np.float32))
    np.testing.assert_array_equal(tokenizer.decode(tokenizer.encode_chunks(zero)), zero)


@needs_transformers
def test_it_gets_a_card_with_its_malformed_sequences(folder, held_out):
    config = TokenizersConfig(tokenizers=(str(folder),), trust_remote_code=True)
    (candidate,) = given(config, held_out.chunks)
    card = measure(candidate, candidate.make(), held_out.chunks, held_out, 40)
    assert card.name == "processor (cosine)"
    assert card.damage.malformed.real == 0
    assert card.damage.malformed.one_error == 1
    assert card.damage.malformed.random > 0.9
    assert json.dumps(dataclasses.asdict(card.fixed[0]))
    assert card.fixed[0].bits == 57 * 8
