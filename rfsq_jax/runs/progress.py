"""Progress bars: rate and ETA on stderr, one look for every command."""

from __future__ import annotations

from tqdm import tqdm


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
    )
