"""Error against bits and tokens: at a fixed length, with each chunk cut at its own, beside FAST.

Every token costs log2(vocabulary) bits, or what `prefix_bits` says; what ends a sequence is not
counted, of FAST's no more than of ours.

Axes: B chunks · P prefixes that decode, short to long; 1 where only whole sequences do.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.data.errors import chunk_errors, pooled
from rfsq_jax.parallel.batching import BLOCK
from rfsq_jax.tokenizers.protocol import ActionTokenizer

PRICES = np.geomspace(1e-9, 1e-1, 49)
"""Squared error that one more bit must save: the lambdas of a sweep."""

TOLERANCES = (0.3, 0.1, 0.03, 0.01)
"""Largest errors of a chunk, in normalised units."""

SLACK = 0.05
"""How far beyond its ends a curve's outermost line is followed."""


@dataclasses.dataclass(frozen=True, eq=False)
class PrefixErrors:
    """What every prefix of every chunk costs and how far off it is.

    Attributes:
      tokens: [B, P], ids.
      bits: [B, P].
      errors: [B, P] by the names of `chunk_errors`.
    """

    tokens: Float[np.ndarray, "b p"]
    bits: Float[np.ndarray, "b p"]
    errors: dict[str, Float[np.ndarray, "b p"]]


@dataclasses.dataclass(frozen=True)
class Point:
    """Means over all chunks; `setting` is the length, lambda or tolerance that gave it."""

    setting: float
    tokens: float
    bits: float
    errors: dict[str, float]

    @property
    def mse(self) -> float:
        """Mean squared error, normalised."""
        return self.errors["mse"]


def prefix_errors(
    tokenizer: ActionTokenizer,
    tokens: Any,
    chunks: Float[np.ndarray, "b t a"],
    space: ActionSpace,
    decode: Callable[[Any], Float[np.ndarray, "b t a"]] | None = None,
) -> PrefixErrors:
    """Decodes every prefix of the tokens of chunks.

    Args:
      tokenizer: that made the tokens.
      tokens: what `tokenizer.encode(chunks)` returned.
      chunks: in robot units.
      space: gives the unit of the normalised errors.
      decode: of whole sequences, where no prefix decodes; by default the tokenizer's.
    """
    lengths = tokenizer.prefix_lengths
    if lengths:
        # Block by block: every prefix of every chunk at once would fill the memory.
        blocks = [slice(start, start + BLOCK) for start in range(0, len(chunks), BLOCK)]
        found = [_block_errors(tokenizer, tokens[rows], chunks[rows], space) for rows in blocks]
        errors = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
        costs = [
            np.broadcast_to(np.asarray(each, np.float64), (len(chunks), len(lengths)))
            for each in (lengths, tokenizer.prefix_bits)
        ]
    else:
        decoded = np.asarray((decode or tokenizer.decode)(tokens))
        errors = {k: v[:, None] for k, v in chunk_errors(chunks, decoded, space).items()}
        counts = np.array([[len(ids)] for ids in tokens], np.float64)
        costs = [counts, counts * math.log2(tokenizer.vocab_size)]
    return PrefixErrors(costs[0], costs[1], errors)


def fixed_curve(measured: PrefixErrors) -> list[Point]:
    """All chunks at the same prefix, for each of them."""
    count, prefixes = measured.bits.shape
    return [
        _point(measured, np.full(count, prefix), float(measured.tokens[:, prefix].mean()))
        for prefix in range(prefixes)
    ]


def cut_curve(
    measured: PrefixErrors, prices: Sequence[float] | Float[np.ndarray, " l"] = PRICES
) -> list[Point]:
    """Each chunk at the prefix that minimises squared error + price x bits, for each price.

    Points come in ascending bits; prices that give the same one give it once.
    """
    points: dict[float, Point] = {}
    for price in sorted(map(float, prices), reverse=True):
        chosen = np.argmin(measured.errors["mse"] + price * measured.bits, axis=1)
        point = _point(measured, chosen, price)
        points.setdefault(point.bits, point)
    return [points[bits] for bits in sorted(points)]


def tolerance_curve(
    measured: PrefixErrors, tolerances: Sequence[float] = TOLERANCES
) -> list[Point]:
    """Each chunk at its first prefix with no error above a tolerance, or at the longest."""
    points = []
    for tolerance in tolerances:
        fits = measured.errors["max_error"] <= tolerance
        chosen = np.where(fits.any(axis=1), fits.argmax(axis=1), fits.shape[1] - 1)
        points.append(_point(measured, chosen, tolerance))
    return points


def log_interpolate(points: Sequence[tuple[float, float]], bits: float) -> float:
    """The MSE of a curve at some bits: log MSE is linear in bits, as rate and distortion are.

    Args:
      points: (bits, MSE) in any order.
      bits: where; up to `SLACK` beyond the curve its outermost line is followed.

    Returns:
      NaN further away, or where the curve is a single point elsewhere.
    """
    known = dict(sorted(points))
    x, y = np.array(list(known)), np.log(np.maximum(list(known.values()), 1e-300))
    if len(x) == 1:
        return float(np.exp(y[0])) if math.isclose(x[0], bits) else math.nan
    if not x[0] * (1 - SLACK) <= bits <= x[-1] * (1 + SLACK):
        return math.nan
    right = int(np.clip(np.searchsorted(x, bits), 1, len(x) - 1))
    share = (bits - x[right - 1]) / (x[right] - x[right - 1])
    return float(np.exp(y[right - 1] + share * (y[right] - y[right - 1])))


def ratios(
    other: Sequence[tuple[float, float]], ours: Sequence[tuple[float, float]]
) -> list[float]:
    """The other's MSE by ours at each of the other's points: above 1, ours errs less."""
    return [mse / log_interpolate(ours, bits) for bits, mse in other]


def curve_of(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Bits and MSE."""
    return [(point.bits, point.mse) for point in points]


def _block_errors(
    tokenizer: ActionTokenizer, tokens: Any, chunks: Float[np.ndarray, "b t a"], space: ActionSpace
) -> dict[str, Float[np.ndarray, "b p"]]:
    found = [chunk_errors(chunks, each, space) for each in tokenizer.each_prefix(tokens)]
    return {name: np.stack([each[name] for each in found], axis=1) for name in found[0]}


def _point(measured: PrefixErrors, chosen: Int[np.ndarray, " b"], setting: float) -> Point:
    rows = np.arange(len(chosen))
    errors = {name: values[rows, chosen] for name, values in measured.errors.items()}
    tokens, bits = measured.tokens[rows, chosen], measured.bits[rows, chosen]
    return Point(setting, float(tokens.mean()), float(bits.mean()), pooled(errors))
