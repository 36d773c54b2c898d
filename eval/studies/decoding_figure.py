"""The plot of a decoding run: the early-exit curve, and which proposals are accepted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rfsq_jax.heads.early_exit import CurvePoint
from rfsq_jax.runs import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot(figures: dict[str, Any], points: Sequence[CurvePoint], path: Path) -> None:
    """Writes the plot as a PNG."""
    figure, (curve, acceptance) = plots.new_figure((12.0, 4.2), 2)
    _plot_curve(curve, points, CurvePoint(**figures["early_exit"]["calibrated"]))
    _plot_acceptance(acceptance, figures["speculation"])
    plots.save_figure(figure, path)


def _plot_curve(axes: Axes, points: Sequence[CurvePoint], chosen: CurvePoint) -> None:
    for field, colour, marker in (("seconds", plots.BLUE, "o"), ("flops", plots.VERMILION, "s")):
        values = [100 * getattr(point, field) for point in points]
        errors = [100 * point.error for point in points]
        label = {"seconds": "time", "flops": "FLOPs"}[field]
        axes.plot(values, errors, color=colour, marker=marker, markersize=4, label=label)
    axes.plot(100 * chosen.seconds, 100 * chosen.error, "*", color="black", markersize=12,
              label="calibrated threshold, time")  # fmt: skip
    axes.set(xlabel="% of the greedy policy's", ylabel="action error, % of the main head's")
    axes.set_title("Early exits save", loc="left")
    axes.legend(frameon=False)


def _plot_acceptance(axes: Axes, figures: dict[str, Any]) -> None:
    steps = range(1, len(figures["steps"]) + 1)
    axes.bar(
        steps, [100 * share for share in figures["steps"]], color=plots.BLUE, label="whole steps"
    )
    for layer, share in enumerate(figures["tokens_per_layer"]):
        axes.axhline(100 * share, color=plots.GREY, linestyle=("-", "--", ":")[layer % 3],
                     label=f"tokens of L{layer}")  # fmt: skip
    axes.set(ylim=(0, 100), xlabel="step of the chunk", ylabel="% of the draft's proposals")
    axes.set_title("The main head agrees", loc="left")
    axes.legend(frameon=False)
