"""Our error beside FAST's at the same bits: at FAST's usual scales, and along the fixed lengths."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from eval.studies.report_card.card import Card
from rfsq_jax.tokenizers.rates import curve_of, log_interpolate, ratios

FAST = "FAST"
REFERENCE_VALUES = 8 * 7
"""Values of the chunk that ranges of bits are given for."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two errors at the same bits; FAST's NaN where its scales do not reach."""

    bits: float
    mse: float
    fast_mse: float

    @property
    def ratio(self) -> float:
        """FAST's by ours: above 1, ours errs less."""
        return self.fast_mse / self.mse if self.mse > 0 else math.inf


@dataclasses.dataclass(frozen=True)
class BesideFast:
    """One tokenizer against FAST.

    Attributes:
      name: of the tokenizer.
      seed: of its training.
      fixed: FAST's MSE by ours at the mean bits of each of FAST's scales, all chunks at one length,
        between whose lengths the error is interpolated.
      cut: the same with each chunk cut at its own prefix.
      curve: at each length of ours, with FAST's error interpolated between its scales.
    """

    name: str
    seed: int | None
    fixed: list[float]
    cut: list[float]
    curve: list[Pair]


def fast_curve(cards: Sequence[Card]) -> list[tuple[float, float]]:
    """Mean bits and MSE of the FAST tokenizers, ascending."""
    return sorted(point for card in cards if card.family == FAST for point in curve_of(card.fixed))


def beside_fast(cards: Sequence[Card]) -> list[BesideFast]:
    """Compares every tokenizer that has prefixes; empty without a FAST."""
    fast = fast_curve(cards)
    if not fast:
        return []
    return [_compare(card, fast) for card in cards if card.has_prefixes]


def bits_range(reference: tuple[float, float], values: int) -> tuple[float, float]:
    """A range of bits for 8 x 7 values as one for chunks of that many values."""
    low, high = (each * values / REFERENCE_VALUES for each in reference)
    return low, high


def verdict(found: Sequence[BesideFast], within: tuple[float, float]) -> str:
    """Says where fixed lengths err more than FAST in a range of bits, with the worst ratio."""
    name, low, high = found[0].name, *within
    pairs = [
        pair
        for each in found
        for pair in each.curve
        if low <= pair.bits <= high and not math.isnan(pair.fast_mse)
    ]
    seeds = f" of {len(found)} seeds" if len(found) > 1 else ""
    where = f"{name}, fixed lengths{seeds} from {low:.0f} to {high:.0f} bits"
    if not pairs:
        return f"{where}: none that FAST's scales reach"
    worst = min(pairs, key=lambda pair: pair.ratio)
    count = sum(pair.ratio >= 1 for pair in pairs)
    said = f"at most FAST's error at {count} of {len(pairs)}"
    return f"{where}: {said}; worst FAST / ours {worst.ratio:.2f} at {worst.bits:.0f} bits"


def _compare(card: Card, fast: list[tuple[float, float]]) -> BesideFast:
    fixed, cut = curve_of(card.fixed), curve_of(card.cut)
    curve = [Pair(bits, mse, log_interpolate(fast, bits)) for bits, mse in fixed]
    return BesideFast(card.name, card.seed, ratios(fast, fixed), ratios(fast, cut), curve)
