"""Entropy of the next token given the earlier: does it fall along the sequence?

Counting all contexts would say 0 bits as soon as every context is met once, so the figure is the
cross-entropy of held-out chunks under a small model that was counted on training chunks: an upper
bound of the entropy. For each position it mixes the token's frequencies with those after the most
telling earlier tokens, alone and in pairs, each backing off to the shorter context (Witten and
Bell 1991). It takes no training, does not care about the vocabulary's size, and needs no knowledge
of how a code is built: telling tokens are looked for at every distance up to `NEAR`, at powers of
two beyond, and at the start.

Axes: M training chunks · B held-out chunks · N positions · E mixed models.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Bool, Float, Int

from eval.studies.report_card.neighbours import rank_correlation
from eval.studies.token_statistics import ABSENT

MOST_POSITIONS = 24
NEAR, FIRST = 16, 4
SINGLES = 3
BLOCK, FOLDS = 50, 5
"""Blocks of neighbouring chunks; one in so many weighs the models counted on the others."""

LEAST, LEAST_SHARE = 20, 0.01
"""Chunks that must have a position, in training and held out; share of the held-out ones."""

MIXING_ROUNDS = 40


@dataclasses.dataclass(frozen=True)
class OrderStatistics:
    """Bits that the next token costs.

    Attributes:
      positions: where it was measured; all, or evenly spread ones of a long sequence.
      present: share of chunks that have each position.
      entropy: bits of the token at each position, given the earlier ones.
      trend: rank correlation of entropy and position: -1 if it falls along the sequence, 1 if it
        rises.
      bits: of a whole chunk.
    """

    positions: list[int]
    present: list[float]
    entropy: list[float]
    trend: float
    bits: float

    @property
    def first(self) -> float:
        """Bits of the first token; NaN where there were too few chunks to measure."""
        return self.entropy[0] if self.entropy else math.nan

    @property
    def last(self) -> float:
        """Bits of the last position that was measured, likewise."""
        return self.entropy[-1] if self.entropy else math.nan


def next_token_entropy(
    train: Int[np.ndarray, "m n"], held_out: Int[np.ndarray, "b n"], vocab_size: int
) -> OrderStatistics:
    """Measures ids as `token_statistics.pad_ids` gives them; training chunks in their order.

    Positions of which too few chunks are known are left out; if all are, nothing is known.
    """
    length = min(train.shape[1], held_out.shape[1])
    positions, present, entropy = [], [], []
    for place in np.unique(np.linspace(0, length - 1, MOST_POSITIONS).round().astype(int)):
        known, asked = (_reaching(ids, place) for ids in (train, held_out))
        share = len(asked) / len(held_out)
        if min(len(known), len(asked)) >= LEAST and share >= LEAST_SHARE:
            positions.append(int(place))
            present.append(share)
            entropy.append(_cross_entropy(known, asked, int(place), vocab_size))
    if not positions:
        return OrderStatistics([], [], [], math.nan, math.nan)
    trend = rank_correlation(np.array([positions], float), np.array([entropy]))
    costs = np.array(present) * np.array(entropy)
    bits = np.interp(np.arange(length), positions, costs, right=0.0).sum()
    return OrderStatistics(positions, present, entropy, trend, float(bits))


def _reaching(ids: Int[np.ndarray, "b n"], place: int) -> Int[np.ndarray, "reaching place+1"]:
    """The sequences that have a position, up to it."""
    return ids[ids[:, place] != ABSENT, : place + 1]


def _cross_entropy(
    train: Int[np.ndarray, "m n"], held_out: Int[np.ndarray, "b n"], place: int, vocab_size: int
) -> float:
    weighing = np.arange(len(train)) // BLOCK % FOLDS == FOLDS - 1
    if weighing.all() or not weighing.any():
        weighing = np.arange(len(train)) % FOLDS == FOLDS - 1
    counted, weighed = train[~weighing], train[weighing]
    asked = np.concatenate([weighed, held_out])
    models = _models(counted, asked, place, vocab_size, len(weighed))
    weights = _mixing_weights(models[:, : len(weighed)])
    return float(-np.log2(weights @ models[:, len(weighed) :]).mean())


def _models(
    counted: Int[np.ndarray, "m n"],
    asked: Int[np.ndarray, "q n"],
    place: int,
    vocab_size: int,
    judged: int,
) -> Float[np.ndarray, "e q"]:
    """Probabilities of each asked token; the first `judged` rows choose the contexts."""
    token, wanted = counted[:, place], asked[:, place]
    nothing, nothing_asked = (np.zeros(len(ids), np.int64) for ids in (counted, asked))
    uniform = np.full(len(asked), 1.0 / vocab_size)
    alone = _after(nothing, nothing_asked, token, wanted, uniform, vocab_size)
    found = {
        earlier: _after(counted[:, earlier], asked[:, earlier], token, wanted, alone, vocab_size)
        for earlier in _contexts(place)
    }
    best = sorted(found, key=lambda each: -float(np.log(found[each][:judged]).mean()))[:SINGLES]
    models = [alone, *(found[each] for each in best)]
    if len(best) > 1:
        pair, asked_pair = (
            ids[:, best[0]] * vocab_size + ids[:, best[1]] for ids in (counted, asked)
        )
        models.append(_after(pair, asked_pair, token, wanted, found[best[0]], vocab_size))
    return np.stack(models)


def _contexts(place: int) -> list[int]:
    powers = [2**k for k in range(5, 12)]
    behind = [place - distance for distance in (*range(1, NEAR + 1), *powers)]
    return sorted({each for each in (*behind, *range(FIRST)) if 0 <= each < place})


def _after(
    context: Int[np.ndarray, " m"],
    asked_context: Int[np.ndarray, " q"],
    token: Int[np.ndarray, " m"],
    asked: Int[np.ndarray, " q"],
    shorter: Float[np.ndarray, " q"],
    vocab_size: int,
) -> Float[np.ndarray, " q"]:
    """Witten and Bell: (count(c, x) + kinds(c) * shorter(x)) / (count(c) + kinds(c))."""
    pairs, pair_counts = np.unique(context * vocab_size + token, return_counts=True)
    contexts, kinds = np.unique(pairs // vocab_size, return_counts=True)
    totals = np.add.reduceat(pair_counts, np.concatenate([[0], np.cumsum(kinds)[:-1]]))
    seen = _look_up(pairs, pair_counts, asked_context * vocab_size + asked)
    total = _look_up(contexts, totals, asked_context)
    different = _look_up(contexts, kinds, asked_context)
    mixed = (seen + different * shorter) / np.maximum(total + different, 1)
    return np.where(total > 0, mixed, shorter)


def _look_up(
    keys: Int[np.ndarray, " k"], values: Int[np.ndarray, " k"], asked: Int[np.ndarray, " q"]
) -> Int[np.ndarray, " q"]:
    places = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    met: Bool[np.ndarray, " q"] = keys[places] == asked
    return np.where(met, values[places], 0)


def _mixing_weights(models: Float[np.ndarray, "e q"]) -> Float[np.ndarray, " e"]:
    """The mixture that fits best, by expectation maximisation."""
    weights = np.full(len(models), 1.0 / len(models))
    for _ in range(MIXING_ROUNDS):
        joint = weights[:, None] * models
        weights = (joint / joint.sum(axis=0)).mean(axis=1)
    return weights
