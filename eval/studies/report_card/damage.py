"""What wrong tokens do: sequences that no longer decode, and the error of those that do.

Axes: S sequences of ids · T steps · A action dims · Q places along a sequence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.data.errors import chunk_errors
from rfsq_jax.tokenizers import ActionTokenizer

MOST_PLACES = 16
Ids = list[list[int]]


@dataclasses.dataclass(frozen=True)
class Malformed:
    """Shares of sequences that do not decode.

    Attributes:
      real: those that `encode` gave.
      one_error: the same with one id replaced by a random other one.
      random: uniformly random ids, as many as real ones have.
    """

    real: float
    one_error: float
    random: float


@dataclasses.dataclass(frozen=True)
class Damage:
    """What one wrong token does.

    Attributes:
      places: along the sequence, from 0 (the first token) to 1 (the last).
      other: by how much the mean squared error grows if the token there is a random other one; of
        the sequences that still decode, NaN if none does.
      next: the same if it is the next or the previous id.
      malformed: what does not decode.
    """

    places: list[float]
    other: list[float]
    next: list[float]
    malformed: Malformed


def decode_each(
    tokenizer: ActionTokenizer, sequences: Ids
) -> tuple[Bool[np.ndarray, " s"], Float[np.ndarray, "s t a"]]:
    """Decodes flat lists of ids; those that the tokenizer refuses stay zero, normalised.

    Returns:
      Which decoded, and the actions in robot units.
    """
    try:
        return np.ones(len(sequences), bool), np.asarray(tokenizer.decode(sequences))
    except ValueError:
        if len(sequences) == 1:
            nothing = np.zeros((1, tokenizer.horizon, tokenizer.action_dim), np.float32)
            return np.zeros(1, bool), tokenizer.normalization.denormalize(nothing)
    middle = len(sequences) // 2
    halves = [decode_each(tokenizer, part) for part in (sequences[:middle], sequences[middle:])]
    return np.concatenate([h[0] for h in halves]), np.concatenate([h[1] for h in halves])


def damage(
    tokenizer: ActionTokenizer,
    sequences: Ids,
    chunks: Float[np.ndarray, "s t a"],
    space: ActionSpace,
    rng: np.random.Generator,
) -> Damage:
    """Measures the sequences of some chunks; `space` gives the unit of errors."""
    real, decoded = decode_each(tokenizer, sequences)
    before = chunk_errors(chunks, decoded, space)["mse"]
    places = np.linspace(0, 1, min(MOST_PLACES, max(map(len, sequences)))).tolist()
    grown: dict[str, list[float]] = {"other": [], "next": []}
    broken = []
    for place in places:
        for name, found in grown.items():
            wrong = [one_wrong(ids, place, tokenizer.vocab_size, rng, name) for ids in sequences]
            fine, decoded = decode_each(tokenizer, wrong)
            growth = (chunk_errors(chunks, decoded, space)["mse"] - before)[fine & real]
            found.append(float(growth.mean()) if len(growth) else float("nan"))
            if name == "other":
                broken.append(1.0 - fine.mean())
    random, _ = decode_each(tokenizer, random_sequences(sequences, tokenizer.vocab_size, rng))
    rates = (1.0 - real.mean(), np.mean(broken), 1.0 - random.mean())
    return Damage(places, grown["other"], grown["next"], Malformed(*map(float, rates)))


def one_wrong(
    ids: Sequence[int], place: float, vocab_size: int, rng: np.random.Generator, kind: str
) -> list[int]:
    """The ids with one replaced: by any "other" one, or by the "next" one up or down."""
    index = round(place * (len(ids) - 1))
    wrong = list(ids)
    if kind == "other":
        wrong[index] = (wrong[index] + int(rng.integers(1, vocab_size))) % vocab_size
    else:
        step = int(rng.choice([-1, 1]))
        inside = 0 <= wrong[index] + step < vocab_size
        wrong[index] += step if inside else -step
    return wrong


def random_sequences(sequences: Ids, vocab_size: int, rng: np.random.Generator) -> Ids:
    """Uniformly random ids in sequences as long as the given ones."""
    return [rng.integers(0, vocab_size, len(ids)).tolist() for ids in sequences]
