"""How tokens behave: overlap of neighbouring chunks, entropy and balance by position.

Ids of chunks stand in one array: a row per chunk, coarse first, `ABSENT` behind the end of a
sequence that is shorter than the longest.

Axes: B chunks · N positions of a sequence.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

ABSENT = -1


@dataclasses.dataclass(frozen=True)
class TokenStatistics:
    """How the tokens of held-out chunks behave, up to a length.

    Attributes:
      overlap: share of tokens that stay, see `overlap_rate`.
      live_overlap: the same over positions that ever change; constant tokens teach nothing.
      perplexity: 2 ** mean entropy of the positions: 1 if they are constant.
      entropy_bits: bits per chunk if every token cost the entropy of its position.
    """

    overlap: float
    live_overlap: float
    perplexity: float
    entropy_bits: float


def pad_ids(sequences: Sequence[Sequence[int]]) -> Int[np.ndarray, "b n"]:
    """Returns flat lists of ids as one array."""
    lengths = np.array([len(ids) for ids in sequences])
    padded = np.full((len(sequences), int(lengths.max(initial=0))), ABSENT, np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = np.concatenate(
        [np.asarray(ids, np.int64) for ids in sequences]
    )
    return padded


def token_statistics(
    ids: Int[np.ndarray, "b n"], adjacent: Bool[np.ndarray, " pairs"], vocab_size: int
) -> TokenStatistics:
    """Measures ids; `adjacent[i]`: chunks i and i + 1 start one step apart."""
    entropies, present = position_entropies(ids, vocab_size), (ids != ABSENT).mean(axis=0)
    mean = float(np.average(entropies, weights=present)) if len(present) else 0.0
    return TokenStatistics(
        overlap=overlap_rate(ids, adjacent),
        live_overlap=overlap_rate(ids[:, entropies > 0], adjacent),
        perplexity=2.0**mean,
        entropy_bits=float((entropies * present).sum()),
    )


def overlap_rate(ids: Int[np.ndarray, "b n"], adjacent: Bool[np.ndarray, " pairs"]) -> float:
    """The share of tokens that stay when the chunk moves on by one step.

    ActionCodec (arXiv 2602.15397) compares the tokens of chunks that start one step apart in one
    episode: token i of one chunk with token i of the next. The share of equal ones is averaged over
    all such pairs; positions that only one of two sequences has count as changed.

    Args:
      ids: [B, N], chunks of each episode in order.
      adjacent: [B - 1], whether chunk i + 1 starts one step after chunk i.

    Returns:
      The share in [0, 1]; 1 for a code without positions, in which nothing can change.

    Raises:
      ValueError: if no two chunks are adjacent.
    """
    if not adjacent.any():
        raise ValueError("overlap needs two chunks of one episode, one step apart, got none")
    one, other = ids[:-1][adjacent], ids[1:][adjacent]
    stay = ((one == other) & (one != ABSENT)).sum(axis=1)
    longer = ((one != ABSENT) | (other != ABSENT)).sum(axis=1)
    return float(np.where(longer > 0, stay / np.maximum(longer, 1), 1.0).mean())


def position_entropies(ids: Int[np.ndarray, "b n"], vocab_size: int) -> Float[np.ndarray, " n"]:
    """Bits of each position's ids, over the sequences that have it, at most log2(vocab_size).

    The plug-in estimate is too low by about (ids in use - 1) / (2 samples) nats, which is added
    (Miller 1955); 0 where no sequence has the position.
    """
    return np.array([_entropy(column[column != ABSENT], vocab_size) for column in ids.T])


def balance(ids: Int[np.ndarray, "b n"], vocab_size: int) -> Float[np.ndarray, " n"]:
    """Entropy of each position's ids by that of equally frequent ones: 1 is even, 0 constant."""
    return position_entropies(ids, vocab_size) / math.log2(max(vocab_size, 2))


def adjacency(lengths: Sequence[int]) -> Bool[np.ndarray, " pairs"]:
    """Which neighbours in a list of chunks belong together, given the chunks of each episode."""
    episode = np.repeat(np.arange(len(lengths)), lengths)
    return episode[:-1] == episode[1:]


def _entropy(ids: Int[np.ndarray, " m"], vocab_size: int) -> float:
    if not len(ids):
        return 0.0
    counts = np.unique(ids, return_counts=True)[1]
    share = counts / counts.sum()
    plug_in = -(share * np.log2(share)).sum()
    correction = (len(counts) - 1) / (2 * len(ids) * math.log(2))
    return float(np.clip(plug_in + correction, 0.0, math.log2(max(vocab_size, 1))))
