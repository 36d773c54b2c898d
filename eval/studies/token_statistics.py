"""How the tokens of neighbouring chunks behave: overlap, perplexity, entropy.

Axes: B chunks · T steps of a chunk · P code positions of one step · L layers.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclasses.dataclass(frozen=True)
class TokenStatistics:
    """How the tokens of held-out chunks behave.

    Attributes:
      overlap: share of tokens that stay, see `overlap_rate`.
      live_overlap: the same over token positions that ever change; constant tokens teach nothing.
      perplexity: per layer, see `perplexities`.
      entropy_bits: bits per chunk if every token cost its zero-order entropy.
    """

    overlap: float
    live_overlap: float
    perplexity: list[float]
    entropy_bits: float


def code_statistics(
    codes: Int[np.ndarray, "b t p l"], adjacent: Bool[np.ndarray, " pairs"]
) -> TokenStatistics:
    """Measures codes of fixed length; `adjacent[i]`: chunks i and i + 1 start one step apart."""
    entropies = symbol_entropies(codes)
    return TokenStatistics(
        overlap=overlap_rate(codes, adjacent),
        live_overlap=overlap_rate(codes[:, :, entropies > 0], adjacent),
        perplexity=(2.0 ** entropies.mean(axis=0)).tolist(),
        entropy_bits=codes.shape[1] * float(entropies.sum()),
    )


def sequence_statistics(
    sequences: Sequence[Sequence[int]], adjacent: Bool[np.ndarray, " pairs"]
) -> TokenStatistics:
    """Measures sequences of varying length; one perplexity, over all tokens."""
    overlap = sequence_overlap_rate(sequences, adjacent)
    counts = np.array(list(Counter(t for ids in sequences for t in ids).values()), np.float64)
    entropy = _entropy(counts)
    mean_tokens = float(np.mean([len(ids) for ids in sequences]))
    return TokenStatistics(overlap, overlap, [2.0**entropy], mean_tokens * entropy)


def overlap_rate(codes: Int[np.ndarray, "b ..."], adjacent: Bool[np.ndarray, " pairs"]) -> float:
    """The share of tokens that stay when the chunk moves on by one step.

    ActionCodec (arXiv 2602.15397) compares the tokens of chunks that start one step apart in one
    episode. Codes of fixed length are compared position by position: token i of one chunk
    with token i of the next; the share of equal ones is averaged over all such pairs of chunks.

    Args:
      codes: [B, ...], chunks of each episode in order.
      adjacent: [B - 1], whether chunk i + 1 starts one step after chunk i.

    Returns:
      The share in [0, 1]; 1 for a code without positions, in which nothing can change.

    Raises:
      ValueError: if no two chunks are adjacent.
    """
    _require_pairs(adjacent)
    flat = codes.reshape(len(codes), -1)
    if flat.shape[1] == 0:
        return 1.0
    return float((flat[:-1] == flat[1:])[adjacent].mean())


def sequence_overlap_rate(
    sequences: Sequence[Sequence[int]], adjacent: Bool[np.ndarray, " pairs"]
) -> float:
    """`overlap_rate` for varying length: positions that only one of two has count as changed."""
    _require_pairs(adjacent)
    shares = [
        sum(a == b for a, b in zip(one, other, strict=False)) / max(len(one), len(other))
        for one, other, near in zip(sequences[:-1], sequences[1:], adjacent, strict=True)
        if near
    ]
    return float(np.mean(shares))


def symbol_entropies(codes: Int[np.ndarray, "b t p l"]) -> Float[np.ndarray, "p l"]:
    """Entropy in bits of each code position and layer, its symbols pooled over chunks and steps.

    `2 ** mean over positions` is the perplexity of a layer: 1 if it is constant, K if uniform.
    """
    num_levels = int(codes.max()) + 1
    counts = np.stack([(codes == level).sum(axis=(0, 1)) for level in range(num_levels)], axis=-1)
    return np.apply_along_axis(_entropy, -1, counts.astype(np.float64))


def adjacency(lengths: Sequence[int]) -> Bool[np.ndarray, " pairs"]:
    """Which neighbours in a list of chunks belong together, given the chunks of each episode."""
    episode = np.repeat(np.arange(len(lengths)), lengths)
    return episode[:-1] == episode[1:]


def _entropy(counts: Float[np.ndarray, " k"]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(max(0.0, -(share * np.log2(share)).sum()))


def _require_pairs(adjacent: Bool[np.ndarray, " pairs"]) -> None:
    if not adjacent.any():
        raise ValueError("overlap needs two chunks of one episode, one step apart, got none")
