"""The plot of a tokenizer comparison: rate and distortion, overlap, perplexity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eval.studies.tokenizer_candidates import Row
from rfsq_jax.runs import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The markers tell them apart in print.
STYLES = {
    "bins": (plots.BLACK, "s"),
    "FAST": (plots.ORANGE, "^"),
    "naive": (plots.GREY, "X"),
    "scale": (plots.SKY, "D"),
    "robust": (plots.BLUE, "o"),
}
EXTRA = ((plots.GREEN, "v"), (plots.VERMILION, "P"), (plots.PURPLE, "*"))


def plot(rows: Sequence[Row], path: Path) -> None:
    """Writes the plot of the rows as a PNG."""
    figure, (left, middle, right) = plots.new_figure((13.0, 4.2), 3, width_ratios=[1.5, 1, 1])
    styles = family_styles(rows)
    _plot_rate_distortion(left, rows, styles)
    _plot_overlap(middle, full_codes(rows), styles)
    _plot_perplexity(right, full_codes(rows), styles)
    plots.save_figure(figure, path)


def family_styles(rows: Sequence[Row]) -> dict[str, tuple[str, str]]:
    """Returns a colour and a marker for each family, the known ones always the same."""
    families = list(dict.fromkeys(row.family for row in rows))
    others = [family for family in families if family not in STYLES]
    extra = {family: EXTRA[index % len(EXTRA)] for index, family in enumerate(others)}
    return {family: STYLES.get(family) or extra[family] for family in families}


def full_codes(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows that decode all they have, of each residual code the one with all layers."""
    deepest: dict[str, int] = {}
    for row in rows:
        deepest[row.family] = max(deepest.get(row.family, 0), row.layers or 0)
    return [row for row in rows if row.layers in (None, deepest[row.family])]


def _plot_rate_distortion(
    axes: Axes, rows: Sequence[Row], styles: dict[str, tuple[str, str]]
) -> None:
    for family, (colour, marker) in styles.items():
        points = sorted((row.bits, row.errors["mse"]) for row in rows if row.family == family)
        bits, mse = zip(*points, strict=True)
        axes.plot(bits, mse, color=colour, marker=marker, label=family, markersize=6, linewidth=1.5)
    axes.set(xscale="log", yscale="log", xlabel="bits per chunk", ylabel="held-out MSE, normalised")
    axes.set_title("Rate and distortion", loc="left")
    axes.legend(frameon=False)


def _plot_overlap(axes: Axes, rows: Sequence[Row], styles: dict[str, tuple[str, str]]) -> None:
    names = [row.name for row in rows]
    colours = [styles[row.family][0] for row in rows]
    axes.barh(names, [100 * row.statistics.live_overlap for row in rows], color=colours)
    axes.plot(
        [100 * row.statistics.overlap for row in rows],
        range(len(rows)),
        "|",
        color=plots.DARK,
        markersize=12,
    )
    axes.invert_yaxis()
    axes.set(xlim=(0, 102), xlabel="% that stay (bar: tokens that ever change; tick: all)")
    axes.set_title("Tokens that stay one step on", loc="left")


def _plot_perplexity(axes: Axes, rows: Sequence[Row], styles: dict[str, tuple[str, str]]) -> None:
    residual = [row for row in rows if row.layers is not None]
    for row in residual:
        colour, marker = styles[row.family]
        layers = range(1, len(row.statistics.perplexity) + 1)
        axes.plot(layers, row.statistics.perplexity, color=colour, marker=marker, label=row.family)
    axes.axhline(1, color=plots.DARK, linewidth=0.8, linestyle=":")
    axes.locator_params(axis="x", integer=True)
    axes.set(xlabel="layer", ylabel="levels in use (perplexity)")
    axes.set_title("Perplexity per layer; 1 is dead", loc="left")
    if residual:
        axes.legend(frameon=False)
