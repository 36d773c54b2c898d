"""What every action tokenizer offers, and the checks that the baselines share.

Axes: B chunks · T steps of a chunk · A action dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float


@runtime_checkable
class Tokenizer(Protocol):
    """Turns action chunks into discrete tokens and back; bins, FAST and RFSQ all satisfy it."""

    @property
    def vocab_size(self) -> int:
        """How many different ids one token can take."""
        ...

    @property
    def tokens_per_chunk(self) -> float:
        """Tokens that one chunk takes; a mean where the length varies."""
        ...

    @property
    def bits_per_chunk(self) -> float:
        """Bits that one chunk takes when every token costs log2(vocab_size)."""
        ...

    def encode(self, actions: Any) -> Any:
        """Returns the tokens of actions float [B, T, A] or [T, A] in robot units."""
        ...

    def decode(self, tokens: Any) -> np.ndarray:
        """Returns float32 actions in robot units; takes what `encode` or a call returned."""
        ...

    def __call__(self, actions: Any) -> list[list[int]]:
        """Returns one flat list of ids per chunk."""
        ...


def check_chunks(
    actions: Any, shape: tuple[int, int] | None = None
) -> tuple[Float[np.ndarray, "b t a"], bool]:
    """Returns float32 chunks [B, T, A] and whether a single [T, A] chunk was given.

    Args:
      actions: float [B, T, A] or [T, A].
      shape: the (T, A) that the tokenizer was fitted to; any where None.

    Raises:
      TypeError: if the actions are not real numbers.
      ValueError: on another shape, no chunks, or NaN or inf.
    """
    values = np.asarray(actions)
    if not np.issubdtype(values.dtype, np.floating):
        raise TypeError(f"actions must be floating point, got {values.dtype}")
    expected = "[B, T, A] or [T, A]" if shape is None else f"[B, {shape[0]}, {shape[1]}] or {shape}"
    if values.ndim not in (2, 3) or (shape is not None and values.shape[-2:] != shape):
        raise ValueError(f"actions must have shape {expected}, got {values.shape}")
    if values.size == 0:
        raise ValueError(f"actions must hold at least one value, got shape {values.shape}")
    if not np.isfinite(values).all():
        count = int(np.count_nonzero(~np.isfinite(values)))
        raise ValueError(f"actions must be finite, got {count} NaN or inf of {values.size} values")
    single = values.ndim == 2
    return values.astype(np.float32)[None] if single else values.astype(np.float32), single


def is_flat_ids(tokens: Any) -> bool:
    """Whether the tokens are lists of flat ids, one per chunk, as a call returns them."""
    if not isinstance(tokens, Sequence) or isinstance(tokens, str | bytes):
        return False
    return all(isinstance(ids, Sequence) and not isinstance(ids, str | bytes) for ids in tokens)


def check_fitted(value: Any, name: str) -> Any:
    """Returns the value, or says that `fit` must come first."""
    if value is None:
        raise ValueError(f"{name} has not been fitted: call fit(actions) first")
    return value
