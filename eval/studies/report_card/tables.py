"""What `eval.tokenizers` prints: one line per tokenizer, mean and range over the seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eval.studies.report_card.beside_fast import BesideFast, fast_curve, verdict
from eval.studies.report_card.card import Card
from rfsq_jax.runs.terminal import format_table
from rfsq_jax.tokenizers.rates import Point

MOST_PREFIXES = 20
"""Lines of one tokenizer in a table, evenly spread over its lengths."""

UNITS = {
    "translation_mm": ("mm", ".3f"),
    "rotation_deg": ("deg", ".3f"),
    "joint_deg": ("joint deg", ".3f"),
    "other_error": ("units", ".3g"),
    "gripper_flips": ("flips", ".2%"),
}
"""Column and form of the errors that not every robot has."""

ERRORS_LEGEND = """\
bits: per chunk, every token at log2(vocabulary) or what its position takes, no end marker.
entropy: bits if each token cost the entropy of its position. MSE, max: normalised actions.
mm, deg: mean error per step. flips: wrong gripper commands. levels: perplexity of a position.
overlap: tokens that stay one step on; live: the same without constant tokens.
Everywhere: means over seeds; in brackets, or as least and most, the range."""
CUT_LEGEND = """\
Each chunk is cut at its first prefix whose largest error, normalised, is at most the tolerance, or
not at all. Cuts by squared error + lambda x bits are in results.json and in the picture."""
FAST_LEGEND = """\
FAST's MSE by the tokenizer's at the mean bits of each FAST: above 1, the tokenizer errs less.
fixed: all chunks at one length; log MSE is interpolated linearly in bits between lengths.
cut: each chunk at the prefix that minimises squared error + lambda x bits."""
CURVE_LEGEND = """\
The same at the lengths themselves, FAST's error interpolated between its scales."""
STATISTICS_LEGEND = """\
first, last, model: bits of the first and the last token and of all, given the earlier ones, under
a counted model (an upper bound). trend: their rank correlation with the position, -1 if they fall.
PRC: rank correlation of distances to the 32 nearest chunks, of actions and of decoded actions;
tokens: and of how many tokens differ; prefix: and of how many follow the first that differs.
balance: entropy of ids by that of equally frequent ones, mean over positions.
wrong: growth of the MSE by a random wrong token, at the worst place; last one: at the last.
next id: at the worst place, if the id is one up or down.
malformed, one wrong, random: sequences that do not decode: real, with one wrong id, random ids."""
COST_LEGEND = """\
Per second: in batches of 1,024. ms: one chunk alone, numpy to numpy. Medians."""


def spread(values: Sequence[float], form: str) -> str:
    """The mean, and the range where there is one; "-" where nothing is known."""
    low, high = (pooled(values, form, choose) for choose in (min, max))
    middle = mean(values, form)
    return middle if low == high else f"{middle} [{low}, {high}]"


def mean(values: Sequence[float], form: str) -> str:
    """The mean of what is known."""
    return pooled(values, form, np.mean)


def pooled(values: Sequence[float], form: str, pool: Callable[[list[float]], Any]) -> str:
    """What a function makes of the values that are known; "-" where none is."""
    known = [value for value in values if not math.isnan(value)]
    return format(pool(known), form) if known else "-"


def by_name(cards: Sequence[Card]) -> dict[str, list[Card]]:
    """The seeds of each tokenizer, in order."""
    groups: dict[str, list[Card]] = {}
    for card in cards:
        groups.setdefault(card.name, []).append(card)
    return groups


def errors_table(cards: Sequence[Card]) -> str:
    """Every tokenizer at every length that decodes, or some of very many."""
    named = [name for name in UNITS if name in cards[0].fixed[0].errors]
    header = ("tokenizer", "tokens", "bits", "entropy", "MSE", "max")
    header += (*(UNITS[name][0] for name in named), "overlap", "live", "levels")
    rows = [
        _errors_row(f"{name}{label}", group, prefix, named)
        for name, group in by_name(cards).items()
        for prefix, label in prefix_labels(group[0].fixed)
    ]
    return format_table(header, rows)


def prefix_labels(points: Sequence[Point]) -> list[tuple[int, str]]:
    """Places of the prefixes to show, with " 3/8"; without a label where there is only one."""
    if len(points) == 1:
        return [(0, "")]
    empty = int(points[0].tokens == 0)
    shown = _some(range(len(points)))
    return [(place, f" {place + 1 - empty}/{len(points) - empty}") for place in shown]


def tolerance_table(cards: Sequence[Card]) -> str:
    """Tokenizers with prefixes, cut by tolerance."""
    rows = []
    for name, group in by_name([card for card in cards if card.has_prefixes]).items():
        for index, point in enumerate(group[0].tolerance):
            points = [card.tolerance[index] for card in group]
            cells = [
                (("tokens", "bits", "mse")[k], form) for k, form in enumerate((".3g", ".0f", ".2e"))
            ]
            values = [spread([getattr(p, field) for p in points], form) for field, form in cells]
            rows.append([f"{name}, {point.setting:g}", *values])
    return format_table(("tokenizer, tolerance", "tokens", "bits", "MSE"), rows)


def ratio_table(cards: Sequence[Card], found: Sequence[BesideFast]) -> str:
    """FAST's MSE by each tokenizer's, at FAST's mean bits; without those that are never there."""
    header = ("FAST / tokenizer", *(f"{bits:.0f} bits" for bits, _ in fast_curve(cards)))
    rows = []
    for name, group in _grouped(found).items():
        for kind in ("fixed", "cut"):
            columns = list(zip(*(getattr(each, kind) for each in group), strict=True))
            if not np.isnan(columns).all():
                rows.append([f"{name}, {kind}", *(spread(each, ".2f") for each in columns)])
    return format_table(header, rows)


def curve_table(found: Sequence[BesideFast], within: tuple[float, float]) -> str:
    """Each length of each tokenizer inside a range of bits, beside FAST interpolated there."""
    rows = []
    for name, group in _grouped(found).items():
        curve = group[0].curve
        inside = [k for k, pair in enumerate(curve) if within[0] <= pair.bits <= within[1]]
        for index in _some(inside):
            pairs = [each.curve[index] for each in group]
            mse = spread([pair.mse for pair in pairs], ".2e")
            fast = spread([curve[index].fast_mse], ".2e")
            ratio = spread([pair.ratio for pair in pairs], ".2f")
            rows.append([name, f"{curve[index].bits:.0f}", mse, fast, ratio])
    return format_table(("tokenizer", "bits", "MSE", "FAST's", "FAST / ours"), rows)


def verdicts(found: Sequence[BesideFast], within: tuple[float, float]) -> str:
    """One line per tokenizer."""
    return "\n".join(verdict(group, within) for group in _grouped(found).values())


STATISTICS: tuple[tuple[str, Callable[[Card], float], str], ...] = (
    ("vocab", lambda card: card.vocab_size, ".0f"),
    ("first", lambda card: card.order.first, ".1f"),
    ("last", lambda card: card.order.last, ".1f"),
    ("model", lambda card: card.order.bits, ".0f"),
    ("trend", lambda card: card.order.trend, ".2f"),
    ("PRC", lambda card: card.neighbours.decoded, ".3f"),
    ("tokens", lambda card: card.neighbours.hamming, ".2f"),
    ("prefix", lambda card: card.neighbours.prefix, ".2f"),
    ("balance", lambda card: float(np.mean(card.balance)), ".2f"),
    ("wrong", lambda card: max(card.damage.other, default=math.nan), ".1e"),
    ("last one", lambda card: card.damage.other[-1], ".1e"),
    ("next id", lambda card: max(card.damage.next, default=math.nan), ".1e"),
    ("malformed", lambda card: card.damage.malformed.real, ".1%"),
    ("one wrong", lambda card: card.damage.malformed.one_error, ".1%"),
    ("random", lambda card: card.damage.malformed.random, ".1%"),
)
COSTS: tuple[tuple[str, Callable[[Card], float], str], ...] = (
    ("encode/s", lambda card: card.cost.encode_per_second, ",.0f"),
    ("decode/s", lambda card: card.cost.decode_per_second, ",.0f"),
    ("encode ms", lambda card: card.cost.encode_ms, ".2f"),
    ("decode ms", lambda card: card.cost.decode_ms, ".2f"),
    ("parameters", lambda card: card.cost.parameters, ",.0f"),
    ("kB", lambda card: card.cost.bytes / 1000, ",.1f"),
)


def figures_table(
    cards: Sequence[Card], columns: Sequence[tuple[str, Callable[[Card], float], str]]
) -> str:
    """One column per figure: `STATISTICS` or `COSTS`; a line per tokenizer, several seeds three."""
    rows = []
    for name, group in by_name(cards).items():
        lines = {name: np.mean, f"{name}, least": min, f"{name}, most": max}
        for title, pool in list(lines.items())[: 3 if len(group) > 1 else 1]:
            values = [[figure(card) for card in group] for _, figure, _ in columns]
            forms = [form for _, _, form in columns]
            cells = [pooled(each, form, pool) for each, form in zip(values, forms, strict=True)]
            rows.append([title, *cells])
    return format_table(("tokenizer", *(title for title, _, _ in columns)), rows)


def _errors_row(name: str, group: list[Card], prefix: int, named: Sequence[str]) -> list[str]:
    points = [card.fixed[prefix] for card in group]
    tokens = [card.tokens[prefix] for card in group]

    def errors(error: str, form: str) -> str:
        return mean([point.errors[error] for point in points], form)

    return [
        name,
        mean([point.tokens for point in points], ".4g"),
        mean([point.bits for point in points], ".0f"),
        mean([each.entropy_bits for each in tokens], ".0f"),
        spread([point.mse for point in points], ".2e"),
        errors("max_error", ".3f"),
        *(errors(error, UNITS[error][1]) for error in named),
        mean([each.overlap for each in tokens], ".1%"),
        mean([each.live_overlap for each in tokens], ".1%"),
        mean([each.perplexity for each in tokens], ".3g"),
    ]


def _some(places: Sequence[int]) -> list[int]:
    """At most `MOST_PREFIXES` of them, with both ends."""
    chosen = np.linspace(0, len(places) - 1, min(len(places), MOST_PREFIXES)).round().astype(int)
    return [places[index] for index in chosen.tolist()]


def _grouped(found: Sequence[BesideFast]) -> dict[str, list[BesideFast]]:
    groups: dict[str, list[BesideFast]] = {}
    for each in found:
        groups.setdefault(each.name, []).append(each)
    return groups
