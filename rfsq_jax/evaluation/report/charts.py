"""Charts of a report: inline SVG in per cent of its width, so that text keeps its size on a phone.

The numbers stand beside each bar as text; only charts that say more have a label of their own.
"""

from __future__ import annotations

from collections.abc import Mapping

from rfsq_jax.evaluation.report.markup import Html, element, join

BAR_HEIGHT = 20
STACK_HEIGHT = 40
MARKS = (0, 25, 50, 75, 100)

# Okabe and Ito's colours, told apart with any colour vision, on white and on black.
COLOURS = {
    "render": "#56b4e9",
    "preprocess": "#e69f00",
    "backbone": "#0072b2",
    "heads": "#009e73",
    "decode": "#cc79a7",
    "physics": "#d55e00",
}


def rate_bar(rate: float, interval: tuple[float, float] | None = None) -> Html:
    """A share of 1 as a bar, with its interval as a whisker.

    Raises:
      ValueError: unless 0 <= low <= rate <= high <= 1.
    """
    low, high = (rate, rate) if interval is None else interval
    if not 0 <= low <= rate <= high <= 1:
        raise ValueError(f"expected 0 <= low <= rate <= high <= 1, got {low}, {rate}, {high}")
    marks = [_line(mark / 100, mark / 100, 0, BAR_HEIGHT, "mark") for mark in MARKS]
    bar = element("rect", x=0, y=3, width=_percent(rate), height=BAR_HEIGHT - 6, class_="bar")
    whisker = () if interval is None else _whisker(low, rate, high)
    return element(
        "svg", *marks, bar, *whisker, class_="rate", height=BAR_HEIGHT, aria_hidden="true"
    )


def stacked_bar(parts: Mapping[str, float], label: str) -> Html:
    """Parts of a whole, from left to right in the order given.

    Args:
      parts: sizes by names of `COLOURS`, not negative.
      label: what the picture says, for those who do not see it.

    Raises:
      ValueError: if nothing is there, or less than nothing.
    """
    whole = sum(parts.values())
    if whole <= 0 or min(parts.values()) < 0:
        raise ValueError(f"expected parts of something, none negative, got {dict(parts)}")
    pieces, reached = [], 0.0
    for name, size in parts.items():
        where = {"x": _percent(reached / whole), "width": _percent(size / whole)}
        pieces.append(element("rect", y=0, height=STACK_HEIGHT, fill=COLOURS[name], **where))
        reached += size
    return element(
        "svg", *pieces, class_="stack", height=STACK_HEIGHT, role="img", aria_label=label
    )


def swatch(name: str) -> Html:
    """The colour of a part, before its name."""
    square = element("rect", width=12, height=12, rx=2, fill=COLOURS[name])
    return join(
        element("svg", square, class_="swatch", width=12, height=12, aria_hidden="true"), name
    )


def scale() -> Html:
    """The axis of rate bars."""
    ends = [element("span", f"{mark}%") for mark in (0, 50, 100)]
    return element("span", *ends, class_="scale", aria_hidden="true")


def _whisker(low: float, rate: float, high: float) -> tuple[Html, ...]:
    middle, reach = BAR_HEIGHT // 2, 4
    return (
        _line(low, high, middle, middle, "whisker"),
        _line(low, low, middle - reach, middle + reach, "whisker"),
        _line(high, high, middle - reach, middle + reach, "whisker"),
        element("circle", cx=_percent(rate), cy=middle, r=4, class_="point"),
    )


def _line(x1: float, x2: float, y1: int, y2: int, kind: str) -> Html:
    return element("line", x1=_percent(x1), x2=_percent(x2), y1=y1, y2=y2, class_=kind)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"
