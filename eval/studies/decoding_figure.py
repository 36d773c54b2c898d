"""The picture of a decoding run: the early-exit curve, and which proposals are accepted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rfsq_jax.heads.early_exit import CurvePoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#999999"


def draw(figures: dict[str, Any], points: Sequence[CurvePoint], path: Path) -> None:
    """Writes the picture as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _draw_curve(left, points, CurvePoint(**figures["early_exit"]["calibrated"]))
    _draw_acceptance(right, figures["speculation"])
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, color="#dddddd", linewidth=0.6)
    figure.savefig(path, dpi=150, format="png")


def _draw_curve(axes: Axes, points: Sequence[CurvePoint], chosen: CurvePoint) -> None:
    for field, colour, marker in (("seconds", BLUE, "o"), ("flops", VERMILION, "s")):
        values = [100 * getattr(point, field) for point in points]
        errors = [100 * point.error for point in points]
        label = {"seconds": "time", "flops": "FLOPs"}[field]
        axes.plot(values, errors, color=colour, marker=marker, markersize=4, label=label)
    axes.plot(100 * chosen.seconds, 100 * chosen.error, "*", color="black", markersize=12,
              label="calibrated threshold, time")  # fmt: skip
    axes.set(xlabel="% of the greedy policy's", ylabel="action error, % of the main head's")
    axes.set_title("Early exits save", loc="left")
    axes.legend(frameon=False)


def _draw_acceptance(axes: Axes, figures: dict[str, Any]) -> None:
    steps = range(1, len(figures["steps"]) + 1)
    axes.bar(steps, [100 * share for share in figures["steps"]], color=BLUE, label="whole steps")
    for layer, share in enumerate(figures["tokens_per_layer"]):
        axes.axhline(100 * share, color=GREY, linestyle=("-", "--", ":")[layer % 3],
                     label=f"tokens of L{layer}")  # fmt: skip
    axes.set(ylim=(0, 100), xlabel="step of the chunk", ylabel="% of the draft's proposals")
    axes.set_title("The main head agrees", loc="left")
    axes.legend(frameon=False)
