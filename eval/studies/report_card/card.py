"""All that is measured of one tokenizer.

Axes: M training chunks · B held-out chunks · T steps · A action dims · N positions of ids.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eval.studies.report_card.candidates import Candidate
from eval.studies.report_card.cost import Cost, cost
from eval.studies.report_card.damage import Damage, Ids, damage
from eval.studies.report_card.data import RUN, HeldOut, adjacent_rows, spread_runs
from eval.studies.report_card.neighbours import NeighbourRanks, neighbour_ranks
from eval.studies.report_card.order import OrderStatistics, next_token_entropy
from eval.studies.token_statistics import TokenStatistics, balance, pad_ids, token_statistics
from rfsq_jax.tokenizers import ActionTokenizer, rates
from rfsq_jax.tokenizers.rates import Point

MOST_IDS = 1_000_000
"""Ids, at most, that are counted: chunks of 1,024 ids are sampled."""

COUNTED_CHUNKS = 40_000
"""Training chunks, at most, that the model of the next token is counted on."""

DAMAGED_CHUNKS, DAMAGED_IDS = 256, 2**15
"""Chunks, and ids of them together, at most, that are made wrong at every place of a sequence."""


@dataclasses.dataclass(frozen=True)
class Card:
    """What is known of a tokenizer.

    Attributes:
      name: see `Candidate`.
      family: see `Candidate`.
      seed: see `Candidate`.
      kind: of tokenizer.
      vocab_size: ids that a token can take.
      fixed: error with all chunks at the same prefix, for each prefix.
      tokens: statistics of the tokens of each of these prefixes.
      cut: error with each chunk at its own prefix, by what a bit may cost.
      tolerance: the same by the largest error that is allowed.
      order: entropy of the next token.
      neighbours: ranks of neighbours.
      balance: how evenly ids are used, by position.
      damage: what wrong tokens do.
      cost: speed and size.
    """

    name: str
    family: str
    seed: int | None
    kind: str
    vocab_size: int
    fixed: list[Point]
    tokens: list[TokenStatistics]
    cut: list[Point]
    tolerance: list[Point]
    order: OrderStatistics
    neighbours: NeighbourRanks
    balance: list[float]
    damage: Damage
    cost: Cost

    @property
    def has_prefixes(self) -> bool:
        """Whether there is anything to cut."""
        return len(self.fixed) > 1


def measure(
    candidate: Candidate,
    tokenizer: ActionTokenizer,
    train: Float[np.ndarray, "m t a"],
    held_out: HeldOut,
    statistics_chunks: int,
) -> Card:
    """Measures the tokenizer that a candidate has made.

    Raises:
      ValueError: if it does not take the actions.
    """
    tokens = tokenizer.encode(held_out.chunks)
    errors = rates.prefix_errors(tokenizer, tokens, held_out.chunks, held_out.space)
    fixed = rates.fixed_curve(errors)
    rows = held_out.sample(max(2 * RUN, min(len(held_out.chunks), _affordable(tokenizer))))
    ids, adjacent = flat_ids(tokenizer, tokens, rows), adjacent_rows(held_out, rows)
    lengths = tokenizer.prefix_lengths or (ids.shape[1],)
    vocabulary = tokenizer.vocab_size
    few = held_out.sample(statistics_chunks)
    return Card(
        name=candidate.name,
        family=candidate.family,
        seed=candidate.seed,
        kind=tokenizer.kind,
        vocab_size=vocabulary,
        fixed=fixed,
        tokens=[token_statistics(ids[:, :length], adjacent, vocabulary) for length in lengths],
        cut=rates.cut_curve(errors),
        tolerance=rates.tolerance_curve(errors),
        order=next_token_entropy(_training_ids(tokenizer, train), ids, vocabulary),
        neighbours=_neighbours(tokenizer, tokens, few, held_out),
        balance=balance(ids, vocabulary).tolist(),
        damage=_damage(tokenizer, tokens, few, held_out),
        cost=cost(tokenizer, held_out.chunks),
    )


def take(tokens: Any, rows: Int[np.ndarray, " rows"]) -> Any:
    """The tokens of some chunks, in the kind's own shape."""
    return [tokens[row] for row in rows.tolist()] if isinstance(tokens, list) else tokens[rows]


def flat_ids(
    tokenizer: ActionTokenizer, tokens: Any, rows: Int[np.ndarray, " rows"]
) -> Int[np.ndarray, "rows n"]:
    """The ids of some chunks, coarse first, as `token_statistics` takes them."""
    return pad_ids(_flat(tokenizer, tokens, rows))


def _flat(tokenizer: ActionTokenizer, tokens: Any, rows: Int[np.ndarray, " rows"]) -> Ids:
    return tokenizer.flatten(take(tokens, rows))


def _affordable(tokenizer: ActionTokenizer) -> int:
    return int(MOST_IDS / max(tokenizer.tokens_per_chunk, 1.0))


def _training_ids(
    tokenizer: ActionTokenizer, train: Float[np.ndarray, "m t a"]
) -> Int[np.ndarray, "rows n"]:
    most = max(2 * RUN, min(COUNTED_CHUNKS, 2 * _affordable(tokenizer)))
    chunks = train[spread_runs(len(train), most)]
    return flat_ids(tokenizer, tokenizer.encode(chunks), np.arange(len(chunks)))


def _neighbours(
    tokenizer: ActionTokenizer, tokens: Any, rows: Int[np.ndarray, " rows"], held_out: HeldOut
) -> NeighbourRanks:
    normalize = held_out.space.normalization.normalize
    decoded = np.asarray(tokenizer.decode(take(tokens, rows)))
    actions, back = (
        normalize(each).reshape(len(rows), -1) for each in (held_out.chunks[rows], decoded)
    )
    return neighbour_ranks(actions, back, flat_ids(tokenizer, tokens, rows))


def _damage(
    tokenizer: ActionTokenizer, tokens: Any, rows: Int[np.ndarray, " rows"], held_out: HeldOut
) -> Damage:
    most = min(DAMAGED_CHUNKS, int(DAMAGED_IDS / max(tokenizer.tokens_per_chunk, 1.0)))
    spread = rows[:: max(1, len(rows) // most)]
    sequences, chunks = _flat(tokenizer, tokens, spread), held_out.chunks[spread]
    return damage(tokenizer, sequences, chunks, held_out.space, np.random.default_rng(0))
