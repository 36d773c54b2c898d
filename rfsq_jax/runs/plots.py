"""Plots as PNG files: one table of colours, one look, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rfsq_jax.runs.files import primary_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any colour vision, on white and on black.
BLACK, BLUE, SKY, GREEN = "#000000", "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILION, PURPLE = "#E69F00", "#D55E00", "#CC79A7"
GREY, DARK = "#999999", "#333333"

DOTS_PER_INCH = 120


def new_figure(
    size: tuple[float, float], columns: int, rows: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Returns an empty figure and its panels, row by row.

    Args:
      size: width and height in inches.
      columns: of panels.
      rows: of panels.
      **options: further ones of `Figure.subplots`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return figure, panels


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG."""
    with primary_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH)
