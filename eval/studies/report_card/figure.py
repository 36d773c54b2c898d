"""The picture of a comparison: rates, order, neighbours, wrong tokens and time at a glance."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eval.studies.report_card.beside_fast import FAST, BesideFast, fast_curve
from eval.studies.report_card.card import Card
from rfsq_jax.runs import plots
from rfsq_jax.tokenizers.rates import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Style = tuple[str, str]
Styles = dict[str, Style]

# The markers tell them apart in print.
STYLES: Styles = {
    "bins": (plots.BLACK, "s"),
    FAST: (plots.ORANGE, "^"),
    "naive": (plots.GREY, "X"),
    "scale": (plots.SKY, "D"),
    "robust": (plots.BLUE, "o"),
    "ordered": (plots.VERMILION, "*"),
}
EXTRA: tuple[Style, ...] = ((plots.GREEN, "v"), (plots.PURPLE, "P"), (plots.DARK, "h"))


def plot(cards: Sequence[Card], found: Sequence[BesideFast], path: Path) -> None:
    """Writes the picture of the cards of one horizon as a PNG."""
    figure, panels = plots.new_figure((19.0, 8.6), 4, rows=2)
    styles = family_styles(cards)
    shown = one_each(cards)
    _plot_rates(panels[0], cards, styles, lambda point: point.bits, "bits per chunk")
    _plot_rates(panels[1], cards, styles, lambda point: point.tokens, "tokens per chunk")
    _plot_ratios(panels[2], cards, found, styles)
    _plot_order(panels[3], shown, styles)
    _plot_neighbours(panels[4], shown, styles)
    _plot_damage(panels[5], shown, styles)
    _plot_malformed(panels[6], shown, styles)
    _plot_times(panels[7], shown, styles)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    plots.save_figure(figure, path)


def family_styles(cards: Sequence[Card]) -> Styles:
    """Returns a colour and a marker for each family: for the first of a kind always the same."""
    known, extra = dict(STYLES), itertools.cycle(EXTRA)
    families = list(dict.fromkeys(card.family for card in cards))
    styles = {family: known.pop(family) for family in families if family in known}
    for family in families:
        if family not in styles:
            # A tokenizer that was given is called "ordered (its folder)".
            styles[family] = known.pop(family.split(" (")[0], None) or next(extra)
    return {family: styles[family] for family in families}


def one_each(cards: Sequence[Card]) -> list[Card]:
    """Returns one card per family: the middle one of several FASTs, the first seed of others."""
    families: dict[str, list[Card]] = {}
    for card in cards:
        families.setdefault(card.family, []).append(card)
    return [group[len(group) // 2 if name == FAST else 0] for name, group in families.items()]


def _plot_rates(
    axes: Axes,
    cards: Sequence[Card],
    styles: Styles,
    rate: Callable[[Point], float],
    label: str,
) -> None:
    for family, (colour, marker) in styles.items():
        group = [card for card in cards if card.family == family]
        # Several FASTs are one curve; several seeds are a curve each, under one name.
        curves = [[card.fixed for card in group]] if family == FAST else [[c.fixed] for c in group]
        for index, parts in enumerate(curves):
            points = sorted((rate(p), p.mse) for part in parts for p in part if rate(p) > 0)
            name = family if index == 0 else None
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, label=name, lw=1.4)
        for card in group:
            if card.has_prefixes:
                points = [(rate(p), p.mse) for p in card.cut]
                axes.plot(*zip(*points, strict=True), color=colour, ls="--", lw=1.0)
    shortest = min(rate(p) for card in cards for p in card.fixed if rate(p) > 0)
    axes.set_xlim(left=0.8 * shortest)
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="held-out MSE, normalised")
    axes.set_title("Error at one length (solid), each chunk cut (dashed)", loc="left", fontsize=10)


def _plot_ratios(
    axes: Axes, cards: Sequence[Card], found: Sequence[BesideFast], styles: Styles
) -> None:
    bits = [each for each, _ in fast_curve(cards)]
    families = {card.name: card.family for card in cards}
    for each in found:
        colour, marker = styles[families[each.name]]
        axes.plot(bits, each.fixed, color=colour, marker=marker, lw=1.4)
        axes.plot(bits, each.cut, color=colour, marker=marker, ls="--", lw=1.0)
    axes.axhline(1.0, color=plots.DARK, lw=0.8, ls=":")
    axes.set(
        yscale="log", xlabel="bits per chunk, those of each FAST", ylabel="FAST's MSE / its MSE"
    )
    axes.set_title("Above the line: errs less than FAST at its bits", loc="left", fontsize=10)


def _plot_order(axes: Axes, cards: Sequence[Card], styles: Styles) -> None:
    for card in cards:
        colour, marker = styles[card.family]
        places = np.array(card.order.positions) / max([*card.order.positions, 1])
        axes.plot(places, card.order.entropy, color=colour, marker=marker, ms=4, lw=1.2)
    axes.set(xlabel="place in the sequence, 0 is the first token", ylabel="bits, given the earlier")
    axes.set_ylim(bottom=0)
    axes.set_title("Entropy of the next token", loc="left", fontsize=10)


def _plot_neighbours(axes: Axes, cards: Sequence[Card], styles: Styles) -> None:
    titles = ("tokens that\nstay", "PRC,\ndecoded", "PRC,\ntokens", "balance")
    values = [
        (
            card.tokens[-1].live_overlap,
            card.neighbours.decoded,
            card.neighbours.hamming,
            float(np.mean(card.balance)),
        )
        for card in cards
    ]
    _plot_bars(axes, cards, styles, titles, values)
    axes.set_ylim(0, 1.02)
    axes.set_title("Neighbours and balance; more is better", loc="left", fontsize=10)


def _plot_damage(axes: Axes, cards: Sequence[Card], styles: Styles) -> None:
    for card in cards:
        colour, marker = styles[card.family]
        for values, line in ((card.damage.other, "-"), (card.damage.next, ":")):
            positive = np.where(np.array(values) > 0, values, np.nan)
            axes.plot(card.damage.places, positive, line, color=colour, marker=marker, ms=3, lw=1.2)
    axes.set(yscale="log", xlabel="place of the wrong token", ylabel="growth of the MSE")
    axes.set_title("One wrong token: random (solid), next id (dotted)", loc="left", fontsize=10)


def _plot_malformed(axes: Axes, cards: Sequence[Card], styles: Styles) -> None:
    values = [(card.damage.malformed.one_error, card.damage.malformed.random) for card in cards]
    percent = [tuple(100 * each for each in pair) for pair in values]
    _plot_bars(axes, cards, styles, ("one id wrong", "random ids"), percent, "%.3g")
    axes.set(ylabel="% that do not decode", ylim=(0, 108))
    axes.set_title("Malformed sequences; none is best", loc="left", fontsize=10)


def _plot_times(axes: Axes, cards: Sequence[Card], styles: Styles) -> None:
    values = [(card.cost.encode_ms, card.cost.decode_ms) for card in cards]
    _plot_bars(axes, cards, styles, ("encode", "decode"), values, "%.2g")
    axes.set(yscale="log", ylabel="ms, one chunk")
    axes.set_title("Time for one chunk", loc="left", fontsize=10)


def _plot_bars(
    axes: Axes,
    cards: Sequence[Card],
    styles: Styles,
    titles: Sequence[str],
    values: Sequence[Sequence[float]],
    label: str | None = None,
) -> None:
    """Bars in groups, one group per title; `label` formats the number above each."""
    width = 0.8 / len(cards)
    for index, (card, heights) in enumerate(zip(cards, values, strict=True)):
        places = np.arange(len(titles)) + (index - (len(cards) - 1) / 2) * width
        bars = axes.bar(places, heights, width, color=styles[card.family][0])
        if label is not None:
            axes.bar_label(bars, fmt=label, fontsize=8)
    axes.set_xticks(range(len(titles)), titles)
