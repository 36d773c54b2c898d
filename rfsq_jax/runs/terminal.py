"""What commands show in a terminal: progress bars on stderr, tables; one look for all.

Of several processes only the first one shows a bar.
"""

from __future__ import annotations

from collections.abc import Sequence

from tqdm import tqdm

from rfsq_jax.parallel.hosts import is_primary


def progress_bar(total: int, description: str, unit: str, initial: int = 0) -> tqdm:
    """Returns a bar over `total` units, `initial` of which an earlier run has done.

    Use it as a context manager and call `.update(n)`; `.set_postfix_str(text)` adds a figure.
    """
    return tqdm(
        total=total,
        desc=description,
        unit=unit,
        initial=initial,
        dynamic_ncols=True,
        smoothing=0.1,
        mininterval=0.2,
        disable=not is_primary(),
    )


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns aligned columns: the first to the left, the others to the right."""
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row must have {len(header)} cells, got {len(row)}: {row}")
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * width for width in widths]
    lines = [_line(cells, widths) for cells in (header, rule, *rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    rest = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return "  ".join([first, *rest]).rstrip()
