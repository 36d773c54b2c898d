"""Golden ids of a prompt, by a tokenizer of Llama-2's kind that knows the prompt's words."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers, processors

from rfsq_jax.backbones.openvla import prompts

# Llama-2's ids of these pieces; "▁" stands for a space.
PIECES = {
    "<unk>": 0,
    "<s>": 1,
    "<0x0A>": 13,
    "▁the": 278,
    "▁to": 304,
    "▁on": 373,
    "▁In": 512,
    "▁should": 881,
    "▁car": 1559,
    "▁What": 1724,
    "▁put": 1925,
    "▁take": 2125,
    "▁action": 3158,
    "Out": 3744,
    "▁plate": 15284,
    "▁robot": 19964,
    "▁": 29871,
    ":": 29901,
    "?": 29973,
    "rot": 5450,
}
CARROT = [1, 512, 29901, 1724, 3158, 881, 278, 19964, 2125, 304, 1925, 278, 1559, 5450, 373, 278]
CARROT += [15284, 29973, 13, 3744, 29901, 29871]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """As in a checkpoint's folder: byte fallback, a space in front, BOS unless it is unasked."""
    folder = tmp_path_factory.mktemp("tokenizer")
    llama().save(str(folder / "tokenizer.json"))
    return prompts.read_tokenizer(folder)


def llama() -> Tokenizer:
    vocabulary, merges = dict(PIECES), []
    free = itertools.count(40000)
    for piece in (each for each in PIECES if not each.startswith("<")):
        for part in (*piece, *itertools.accumulate(piece)):
            if part not in vocabulary:
                vocabulary[part] = next(free)
        merges += zip(list(itertools.accumulate(piece))[:-1], piece[1:], strict=True)
    words = models.BPE(
        vocabulary,
        list(dict.fromkeys(merges)),
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    tokenizer = Tokenizer(words)
    spaces = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    tokenizer.normalizer = normalizers.Sequence(spaces)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return tokenizer


@pytest.mark.parametrize("sentence", ["put the carrot on the plate", "Put the Carrot on the PLATE"])
def test_golden_ids(tokenizer: Tokenizer, sentence: str) -> None:
    assert prompts.prompt_ids(tokenizer, sentence) == CARROT


def test_one_bos_whatever_the_tokenizer_adds(tokenizer: Tokenizer) -> None:
    text = prompts.prompt_text("put the carrot on the plate")
    assert tokenizer.encode(text).ids == CARROT[:-1]
    assert prompts.prompt_ids(tokenizer, "put the carrot on the plate").count(prompts.BOS) == 1


def test_the_last_id_is_the_space_before_the_first_action(tokenizer: Tokenizer) -> None:
    """In training text went on after "Out: "; there its lone space is a token of its own."""
    text = prompts.prompt_text("put the carrot on the plate") + " "
    assert tokenizer.encode(text).ids == CARROT


def test_a_space_that_is_there_is_not_doubled(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts, "PROMPT", prompts.PROMPT + " ")
    assert prompts.prompt_ids(tokenizer, "put the carrot on the plate") == CARROT


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tokenizer\.json is missing"):
        prompts.read_tokenizer(tmp_path)
