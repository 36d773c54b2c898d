"""Ids as a call returns them: flat lists, one per chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from rfsq_jax.runs.array_checks import as_integers
from rfsq_jax.runs.checks import require


def is_flat_ids(tokens: Any) -> bool:
    """Whether the tokens are lists of flat ids, one per chunk, as a call returns them."""
    if not _is_list(tokens) or not tokens:
        return False
    return all(_is_list(ids) and not any(_is_list(each) for each in ids) for ids in tokens)


def check_ids(ids: Any, vocab_size: int, name: str = "tokens") -> Int[np.ndarray, "..."]:
    """Returns tokens as an int64 array.

    Raises:
      TypeError: if they are not integers.
      ValueError: if one is outside [0, vocab_size), values are masked, or lists differ in length.
    """
    values = as_integers(ids, name)
    if values.size and (values.min() < 0 or values.max() >= vocab_size):
        got = f"{values.min()} to {values.max()}"
        raise ValueError(f"{name} must be in [0, {vocab_size}), got {got}")
    return values


def require_prefix(length: Any, known: Sequence[int]) -> None:
    """Raises a ValueError unless the first `length` ids of a chunk decode."""
    expected = f"one of {known[0]}, {known[1]} ... {known[-1]}" if len(known) > 2 else str(known)
    require(length in known, "length", expected, length)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
