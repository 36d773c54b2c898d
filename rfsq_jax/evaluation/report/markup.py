"""HTML from nested calls; whatever is not HTML already is escaped."""

from __future__ import annotations

import html

VOID = frozenset({"circle", "img", "line", "meta", "rect"})
"""Elements that have no content."""


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | int | None) -> Html:
    """An element; text is escaped, Html is kept.

    Args:
      name: of the element.
      *children: what it holds.
      **attributes: by name, "_" for "-", with one at the end of Python's own words ("class_"); None
        leaves an attribute out.

    Raises:
      ValueError: if an element without content is given some.
    """
    if name in VOID and children:
        raise ValueError(f"<{name}> holds nothing, got {len(children)} children")
    pairs = ((_attribute(key), value) for key, value in attributes.items() if value is not None)
    head = " ".join([name, *(f'{key}="{html.escape(str(value))}"' for key, value in pairs)])
    return Html(f"<{head} />" if name in VOID else f"<{head}>{join(*children)}</{name}>")


def join(*children: str) -> Html:
    """Children one after another."""
    return Html("".join(each if isinstance(each, Html) else html.escape(each) for each in children))


def table(caption: str, header: list[str], rows: list[list[str]], **attributes: str) -> Html:
    """A table whose first column names the rows; it scrolls in itself where it is too wide."""
    head = element("tr", *(element("th", cell, scope="col") for cell in header))
    body = [
        element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in cells))
        for first, *cells in rows
    ]
    whole = element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", *body),
        **attributes,
    )
    return scrolling(whole, caption)


def scrolling(content: str, label: str) -> Html:
    """A region that scrolls sideways, by keyboard too."""
    return element("div", content, class_="scroll", role="region", aria_label=label, tabindex=0)


def _attribute(key: str) -> str:
    return key.removesuffix("_").replace("_", "-")
