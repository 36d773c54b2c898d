"""The tokenizers of one comparison, and the row of figures that each of them earns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from eval.benchmarks.timing import fastest
from eval.studies.token_statistics import TokenStatistics, code_statistics, sequence_statistics
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.data.errors import reconstruction_errors
from rfsq_jax.tokenizers import ActionTokenizer


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A fitted tokenizer.

    Attributes:
      name: what the table calls it.
      family: what the picture groups it under.
      tokenizer: of any kind.
    """

    name: str
    family: str
    tokenizer: ActionTokenizer


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What every candidate is measured on.

    Attributes:
      chunks: float32 [B, T, A], robot units, every window of every held-out episode in order.
      adjacent: bool [B - 1], whether chunk i + 1 starts one step after chunk i.
      space: of the training episodes; gives the unit of the normalised errors.
    """

    chunks: Float[np.ndarray, "b t a"]
    adjacent: Bool[np.ndarray, " pairs"]
    space: ActionSpace


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table; `layers` counts the residual layers decoded, None without any."""

    name: str
    family: str
    layers: int | None
    tokens: float
    bits: float
    errors: dict[str, float]
    statistics: TokenStatistics
    encode_us: float


def measure(candidate: Candidate, held_out: HeldOut) -> Iterator[Row]:
    """Yields the row of a tokenizer, and for residual codes one for every prefix of layers."""
    chunks, tokenizer = held_out.chunks, candidate.tokenizer
    tokens = tokenizer.encode(chunks)
    encode_us = 1e6 * fastest(lambda: tokenizer.encode(chunks)) / len(chunks)

    def row(name: str, layers: int | None, some: Any, length: float, found: TokenStatistics) -> Row:
        bits = length * float(np.log2(tokenizer.vocab_size))
        decoded = np.asarray(tokenizer.decode(some))
        errors = reconstruction_errors(chunks, decoded, held_out.space)
        return Row(name, candidate.family, layers, length, bits, errors, found, encode_us)

    if isinstance(tokens, list):
        length = float(np.mean([len(ids) for ids in tokens]))
        found = sequence_statistics(tokens, held_out.adjacent)
        yield row(candidate.name, None, tokens, length, found)
        return
    codes = np.asarray(tokens)
    if codes.ndim == chunks.ndim:
        found = code_statistics(codes[..., None], held_out.adjacent)
        yield row(candidate.name, None, codes, float(np.prod(codes.shape[1:])), found)
        return
    for layers in range(1, codes.shape[-1] + 1):
        prefix = codes[..., :layers]
        name = f"{candidate.name} {layers}/{codes.shape[-1]}"
        found = code_statistics(prefix, held_out.adjacent)
        yield row(name, layers, prefix, float(np.prod(prefix.shape[1:])), found)
