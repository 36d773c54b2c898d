"""How far decoded actions are from those that were encoded, and what is said of it.

Axes: B chunks · T steps of a chunk · A action dims · M dims that move · N tokens.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from rfsq_jax.data.action_range import Check
from rfsq_jax.parallel.batching import BLOCK
from rfsq_jax.runs.array_checks import as_floats
from rfsq_jax.runs.checks import require
from rfsq_jax.tokenizers.ordered.coefficients import Parts
from rfsq_jax.tokenizers.ordered.paths import Encoded

if TYPE_CHECKING:
    from rfsq_jax.tokenizers.ordered.tokenizer import OrderedTokenizer


class RoundTripWarning(UserWarning):
    """Chunks decode to other actions than a tokenizer's chunks usually do."""


def largest_error(parts: Parts, found: Encoded) -> Float[np.ndarray, " b"]:
    """The largest error over steps and dims that move, in normalised units."""
    import scipy.fft

    left = found.coefficients - parts.coefficients
    errors: np.ndarray = np.asarray(scipy.fft.idct(left, axis=1, norm="ortho"))
    return np.abs(errors).max(axis=(1, 2), initial=0.0)


def report(
    tokenizer: OrderedTokenizer,
    chunks: Float[np.ndarray, "b t a"],
    ids: Int[np.ndarray, "b n"],
    total: int,
    check: Check,
) -> None:
    """Says how far chunks that err too much are off, in robot units.

    Raises:
      ValueError: instead of a warning, with check "raise".
    """
    error = np.abs(tokenizer.decode(ids) - chunks).max(axis=(0, 1))
    width = tokenizer.normalization.high - tokenizer.normalization.low
    worst = int(np.argmax(error / width))
    message = (
        f"actions must decode to within {tokenizer.config.largest_error:.3g} in normalised units, "
        f"got {tokenizer.space.spec.names[worst]} off by {error[worst]:.4g} in robot units; "
        f"{len(chunks)} of {total} chunks err more"
    )
    _say(message, check)


def shortest_within(
    tokenizer: OrderedTokenizer,
    chunks: Float[np.ndarray, "b t a"],
    ids: Int[np.ndarray, "b n"],
    tolerance: Any,
    check: Check,
) -> Int[np.ndarray, " b"]:
    """The shortest prefix of each chunk within a tolerance; all of its ids where there is none.

    Args:
      tokenizer: that made the ids.
      chunks: in robot units.
      ids: int [B, H + N].
      tolerance: the largest error of an action, robot units: one number, or one for each dim.
      check: what is done where no prefix is within it.

    Raises:
      ValueError: if the tolerance is not above 0 or has another shape; with check "raise" also if a
        chunk has no such prefix.
    """
    allowed = as_floats(np.asarray(tolerance, np.float64), "tolerance")
    dims = tokenizer.action_dim
    fits = allowed.shape in ((), (dims,)) and bool((allowed > 0).all())
    require(fits, "tolerance", f"one number above 0, or {dims}", tolerance)
    headers = tokenizer.tokens_per_chunk - tokenizer.config.num_tokens
    lengths, missed = np.empty(len(ids), np.int64), 0
    for start in range(0, len(ids), BLOCK):
        rows = slice(start, start + BLOCK)
        decoded = tokenizer.decode_prefixes(ids[rows])
        within = np.all(np.abs(decoded - chunks[rows, None]) <= allowed, axis=(2, 3))
        missed += np.count_nonzero(~np.any(within, axis=-1))
        within[:, -1] = True
        lengths[rows] = headers + within.argmax(axis=1)
    if missed:
        _say(f"actions must decode within tolerance, got {missed} of {len(ids)} beyond it", check)
    return lengths


def _say(message: str, check: Check) -> None:
    if check == "raise":
        raise ValueError(message)
    warnings.warn(message, RoundTripWarning, stacklevel=5)
