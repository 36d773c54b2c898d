"""The tokenizers of one comparison, and the row of figures that each of them earns."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

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
    tokens = candidate.tokenizer.encode(held_out.chunks)
    encode_us = _encode_time(candidate.tokenizer, held_out.chunks)
    if isinstance(tokens, list):
        yield _sequence_row(candidate, held_out, tokens, encode_us)
        return
    codes = np.asarray(tokens)
    if codes.ndim == held_out.chunks.ndim:
        yield _code_row(candidate, held_out, codes[..., None], None, encode_us)
        return
    for layers in range(1, codes.shape[-1] + 1):
        name = f"{candidate.name} {layers}/{codes.shape[-1]}"
        prefix = dataclasses.replace(candidate, name=name)
        yield _code_row(prefix, held_out, codes[..., :layers], layers, encode_us)


def _sequence_row(
    candidate: Candidate, held_out: HeldOut, sequences: list[list[int]], encode_us: float
) -> Row:
    tokens = float(np.mean([len(ids) for ids in sequences]))
    bits = tokens * float(np.log2(candidate.tokenizer.vocab_size))
    errors = _errors(held_out, candidate.tokenizer.decode(sequences))
    statistics = sequence_statistics(sequences, held_out.adjacent)
    return Row(candidate.name, candidate.family, None, tokens, bits, errors, statistics, encode_us)


def _code_row(
    candidate: Candidate, held_out: HeldOut, codes: Any, layers: int | None, encode_us: float
) -> Row:
    tok = candidate.tokenizer
    tokens = float(np.prod(codes.shape[1:]))
    bits = tokens * float(np.log2(tok.vocab_size))
    errors = _errors(held_out, tok.decode(codes[..., 0] if layers is None else codes))
    statistics = code_statistics(codes, held_out.adjacent)
    return Row(
        candidate.name, candidate.family, layers, tokens, bits, errors, statistics, encode_us
    )


def _errors(held_out: HeldOut, decoded: Any) -> dict[str, float]:
    return reconstruction_errors(held_out.chunks, np.asarray(decoded), held_out.space)


def _encode_time(tokenizer: ActionTokenizer, chunks: Float[np.ndarray, "b t a"]) -> float:
    """Microseconds per chunk for the whole batch, once warm: the best of three."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        tokenizer.encode(chunks)
        seconds.append(time.perf_counter() - start)
    return 1e6 * min(seconds) / len(chunks)
