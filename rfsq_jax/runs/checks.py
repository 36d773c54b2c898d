"""Checks that configs share: a bad value is named with what was expected and what was got."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, get_args

import numpy as np

MAX_SIZE = 2**16
"""Units along one axis of a network, a code or a chunk: more is a slip, and takes all memory."""

MAX_DEPTH = 2**10
"""Layers of one kind: every one of them is compiled."""

MAX_SEED = 2**32 - 1


class NotInstalledError(ImportError):
    """Something is not installed that only some need; the message says what to install."""


class DamagedError(ValueError):
    """A file of ours is not as it was written; the message names it."""


def require(condition: bool, field: str, expected: str, got: Any) -> None:
    """Raises a ValueError that names the field, what was expected and what was got."""
    if not condition:
        raise ValueError(f"{field} must be {expected}, got {got!r}")


def require_positive(config: Any, *fields: str) -> None:
    """Raises a ValueError for the first of the config's fields that is below 1."""
    for field in fields:
        value = getattr(config, field)
        require(value >= 1, field, "at least 1", value)


def require_range(config: Any, least: int, most: int, *fields: str) -> None:
    """Raises a ValueError for the first of the config's fields outside [least, most]."""
    for field in fields:
        value = getattr(config, field)
        require(value >= least, field, f"at least {least}", value)
        require(value <= most, field, f"at most {most}", value)


def require_seed(config: Any) -> None:
    """Raises a ValueError unless the config's seed fits in 32 bits."""
    require_range(config, 0, MAX_SEED, "seed")


def require_int(value: Any, field: str) -> None:
    """Raises a TypeError unless `value` is an integer, of Python or numpy; True and False are not.

    For arguments; configs have `records.require_types`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{field} must be an integer, got {value!r}")


def require_choice(value: Any, choices: Any, field: str) -> None:
    """Raises a ValueError that suggests the nearest choice unless `value` is one of them.

    Args:
      value: what was given.
      choices: a Literal type, or names.
      field: what the error calls it.
    """
    known = [str(choice) for choice in get_args(choices) or choices]
    if value not in known:
        close = difflib.get_close_matches(str(value), known, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{field} must be one of {', '.join(known)}, got {value!r}{hint}")


def require_known(options: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raises a ValueError for the first option that is not known, with a suggestion."""
    choices = list(known)
    for option in options:
        require_choice(option, choices, what)
