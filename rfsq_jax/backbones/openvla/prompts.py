"""Prompts and action tokens.

Axes: B batch · T prompt tokens, padded · A action dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from tokenizers import Tokenizer

from rfsq_jax.runs.json_files import read_json

BOS, PAD, SPACE = 1, 32000, 29871
PROMPT = "In: What action should the robot take to {}?\nOut:"
EDGES = np.linspace(-1, 1, 256)
CENTRES = (EDGES[:-1] + EDGES[1:]) / 2
LAST_WORD = 32000


def prompt_text(instruction: str) -> str:
    """The sentence that the models were trained with."""
    return PROMPT.format(instruction.lower())


def read_tokenizer(folder: Path) -> Tokenizer:
    """Reads the checkpoint's own tokenizer.json.

    Raises:
      ValueError: if it is missing or damaged.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    read_json(path)
    try:
        return Tokenizer.from_file(str(path))
    # The library raises nothing narrower.
    except Exception as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def prompt_ids(tokenizer: Any, instruction: str) -> list[int]:
    """BOS, the prompt, and the lone space that stands before the first action in training."""
    ids = tokenizer.encode(prompt_text(instruction), add_special_tokens=False).ids
    return [BOS, *ids, *([] if ids[-1] == SPACE else [SPACE])]


def pad_prompts(
    prompts: Sequence[Sequence[int]], multiple: int = 8
) -> tuple[Int[np.ndarray, "b t"], Int[np.ndarray, " b"]]:
    """Ids padded at the end to a common multiple, so that few lengths compile; and lengths."""
    lengths = np.array([len(prompt) for prompt in prompts], np.int32)
    ids = np.full((len(prompts), -(-lengths.max() // multiple) * multiple), PAD, np.int32)
    for row, prompt in zip(ids, prompts, strict=True):
        row[: len(prompt)] = prompt
    return ids, lengths


def encode_actions(actions: Float[np.ndarray, "*b a"]) -> Int[np.ndarray, "*b a"]:
    """Normalised actions -> the base model's tokens, 31744..31999."""
    return LAST_WORD - np.digitize(np.clip(actions, -1, 1), EDGES)


def decode_actions(tokens: Int[np.ndarray, "*b a"]) -> Float[np.ndarray, "*b a"]:
    """Tokens -> normalised actions; tokens of words clip to the nearest action."""
    return CENTRES[np.clip(LAST_WORD - tokens - 1, 0, len(CENTRES) - 1)]
