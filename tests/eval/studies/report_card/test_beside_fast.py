"""The comparison with FAST, on curves that are known."""

from __future__ import annotations

import math
from typing import Any

import pytest

from eval.studies.report_card.beside_fast import beside_fast, bits_range, fast_curve, verdict
from rfsq_jax.tokenizers.rates import Point

FAST_BITS = (30.0, 60.0, 100.0, 150.0, 190.0)


class CurveCard:
    """What the comparison reads of a card."""

    def __init__(self, name: str, bits, factor: float) -> None:
        self.name = self.family = name
        self.seed = 0
        self.fixed = [point(each, factor) for each in bits]
        self.cut = [point(each, 0.5 * factor) for each in bits]
        self.has_prefixes = len(self.fixed) > 1


def point(bits: float, factor: float) -> Point:
    return Point(bits, bits / 10, bits, {"mse": factor * math.exp(-bits / 20)})


def cards(factor: float) -> list[Any]:
    """FAST's scales, a tokenizer whose error is `factor` times FAST's, and one without prefixes."""
    fasts = [CurveCard("FAST", [bits], 1.0) for bits in FAST_BITS]
    return [*fasts, CurveCard("ordered", range(0, 300, 11), factor), CurveCard("bins", [448], 1.0)]


def test_ratios_are_those_of_the_curves():
    (found,) = beside_fast(cards(0.5))
    assert found.name == "ordered"
    assert found.fixed == pytest.approx([2.0] * 5)
    assert found.cut == pytest.approx([4.0] * 5)
    known = [pair.ratio for pair in found.curve if not math.isnan(pair.fast_mse)]
    assert known == pytest.approx([2.0] * len(known))
    assert [pair.bits for pair in found.curve if not math.isnan(pair.fast_mse)] == list(
        range(33, 199, 11)
    )


def test_without_fast_there_is_nothing_to_compare():
    assert beside_fast([card for card in cards(0.5) if card.name != "FAST"]) == []
    assert fast_curve(cards(1.0)) == [
        (bits, pytest.approx(math.exp(-bits / 20))) for bits in FAST_BITS
    ]


@pytest.mark.parametrize(
    ("factor", "said"),
    [(0.5, "at 15 of 15; worst FAST / ours 2.00"), (2.0, "at 0 of 15; worst FAST / ours 0.50")],
)
def test_the_verdict_names_the_worst(factor, said):
    (found,) = beside_fast(cards(factor))
    assert said in verdict([found], (40.0, 200.0))
    assert "of 2 seeds" in verdict([found, found], (40.0, 200.0))
    assert "none that FAST's scales reach" in verdict([found], (250.0, 300.0))


def test_a_range_of_bits_grows_with_the_values():
    assert bits_range((40.0, 200.0), 56) == (40.0, 200.0)
    assert bits_range((40.0, 200.0), 32 * 14) == (320.0, 1600.0)
