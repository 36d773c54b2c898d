"""Charts of a report: inline SVG in per cent of its width, so that text keeps its size on a phone.

The numbers stand beside each bar as text; only charts that say more have a label of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from rfsq_jax.runs import plots

BAR_HEIGHT = 20
STACK_HEIGHT = 40
MARKS = (0, 25, 50, 75, 100)

COLOURS = {
    "render": plots.SKY,
    "preprocess": plots.ORANGE,
    "backbone": plots.BLUE,
    "heads": plots.GREEN,
    "decode": plots.PURPLE,
    "physics": plots.VERMILION,
}


def rate_bar(rate: float, interval: Sequence[float] | None = None) -> Markup:
    """A share of 1 as a bar, with its interval as a whisker.

    Raises:
      ValueError: unless 0 <= low <= rate <= high <= 1.
    """
    low, high = (rate, rate) if interval is None else interval
    if not 0 <= low <= rate <= high <= 1:
        raise ValueError(f"expected 0 <= low <= rate <= high <= 1, got {low}, {rate}, {high}")
    marks = [_line(mark / 100, mark / 100, 0, BAR_HEIGHT, "mark") for mark in MARKS]
    bar = f'<rect x="0" y="3" width="{rate:.2%}" height="{BAR_HEIGHT - 6}" class="bar" />'
    whisker = [] if interval is None else _whisker(low, rate, high)
    return Markup(
        f'<svg class="rate" height="{BAR_HEIGHT}" aria-hidden="true">'
        f"{''.join([*marks, bar, *whisker])}</svg>"
    )


def stacked_bar(parts: Mapping[str, float], title: str) -> Markup:
    """Parts of a whole, from left to right in the order given.

    Args:
      parts: sizes by names of `COLOURS`, not negative.
      title: what they are parts of, for those who do not see the picture.

    Raises:
      ValueError: if nothing is there, or less than nothing.
    """
    whole = sum(parts.values())
    if whole <= 0 or min(parts.values()) < 0:
        raise ValueError(f"expected parts of something, none negative, got {dict(parts)}")
    pieces, reached = [], 0.0
    for name, size in parts.items():
        pieces.append(
            f'<rect y="0" height="{STACK_HEIGHT}" fill="{COLOURS[name]}" '
            f'x="{reached / whole:.2%}" width="{size / whole:.2%}" />'
        )
        reached += size
    label = ", ".join(f"{name} {size / whole:.1%}" for name, size in parts.items())
    start = Markup('<svg class="stack" height="{}" role="img" aria-label="{}: {}">')
    return start.format(STACK_HEIGHT, title, label) + Markup(f"{''.join(pieces)}</svg>")


def swatch(name: str) -> Markup:
    """The colour of a part, to stand before its name."""
    return Markup(
        '<svg class="swatch" width="12" height="12" aria-hidden="true">'
        f'<rect width="12" height="12" rx="2" fill="{COLOURS[name]}" /></svg>'
    )


def _whisker(low: float, rate: float, high: float) -> list[str]:
    middle, reach = BAR_HEIGHT // 2, 4
    return [
        _line(low, high, middle, middle, "whisker"),
        _line(low, low, middle - reach, middle + reach, "whisker"),
        _line(high, high, middle - reach, middle + reach, "whisker"),
        f'<circle cx="{rate:.2%}" cy="{middle}" r="4" class="point" />',
    ]


def _line(x1: float, x2: float, y1: int, y2: int, kind: str) -> str:
    return f'<line x1="{x1:.2%}" x2="{x2:.2%}" y1="{y1}" y2="{y2}" class="{kind}" />'
