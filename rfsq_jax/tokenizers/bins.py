"""Uniform bins per action dim: the tokenizer of RT-1, RT-2 and OpenVLA.

Every value is normalised by its 1 % and 99 % quantiles, clipped to [-1, 1], and becomes the index
of one of `num_bins` equal intervals; it decodes to the interval's centre. One token per value: 256
bins cost 8 bits. OpenVLA (arXiv 2406.09246) writes `linspace(-1, 1, 256)`, which is 256 edges and
so 255 intervals; here there are exactly `num_bins` intervals, so that no id is wasted.

Axes: B chunks · T steps of a chunk · A action dims.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from rfsq_jax.data.normalization import Normalization
from rfsq_jax.tokenizers.protocol import check_chunks, check_fitted, is_flat_ids


def bin_edges(num_bins: int) -> Float[np.ndarray, " edges"]:
    """Returns the num_bins + 1 edges of equal intervals over [-1, 1]."""
    return np.linspace(-1.0, 1.0, num_bins + 1)


def to_bins(x: Float[np.ndarray, "*n"], num_bins: int) -> Int[np.ndarray, "*n"]:
    """Returns the interval of each value; those beyond [-1, 1] fall in the outer intervals."""
    scaled = (np.clip(x.astype(np.float64), -1.0, 1.0) + 1.0) * (num_bins / 2)
    return np.minimum(np.floor(scaled), num_bins - 1).astype(np.int32)


def from_bins(bins: Int[np.ndarray, "*n"], num_bins: int) -> Float[np.ndarray, "*n"]:
    """Returns the centre of each interval, float32."""
    return ((2 * bins + 1) / num_bins - 1).astype(np.float32)


class BinTokenizer:
    """Uniform bins behind the tokenizer interface.

    Args:
      num_bins: intervals per action dim, at least 2.
      normalization: fitted statistics; measured by `fit` where None.
      shape: (T, A) of a chunk; read by `fit` where None.

    Raises:
      ValueError: if `num_bins` is below 2.
    """

    def __init__(
        self,
        num_bins: int = 256,
        normalization: Normalization | None = None,
        shape: tuple[int, int] | None = None,
    ) -> None:
        if num_bins < 2:
            raise ValueError(f"num_bins must be at least 2, got {num_bins}")
        self.num_bins = num_bins
        self._normalization = normalization
        self._shape = shape

    def fit(self, actions: Any) -> BinTokenizer:
        """Measures the normalisation of actions float [B, T, A]; returns the tokenizer itself."""
        chunks, _ = check_chunks(actions)
        self._shape = (chunks.shape[1], chunks.shape[2])
        self._normalization = Normalization.fit(chunks.reshape(-1, chunks.shape[2]))
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """(T, A) of a chunk."""
        return check_fitted(self._shape, "BinTokenizer")

    @property
    def normalization(self) -> Normalization:
        """The fitted statistics."""
        return check_fitted(self._normalization, "BinTokenizer")

    @property
    def vocab_size(self) -> int:
        """How many bins there are."""
        return self.num_bins

    @property
    def tokens_per_chunk(self) -> int:
        """One token per value."""
        return math.prod(self.shape)

    @property
    def bits_per_chunk(self) -> float:
        """log2(num_bins) for every value."""
        return self.tokens_per_chunk * math.log2(self.num_bins)

    def encode(self, actions: Any) -> Int[np.ndarray, "*b t a"]:
        """Returns the bins int32 [B, T, A] (or [T, A]) of actions in robot units.

        Raises:
          TypeError, ValueError: on actions of another type or shape, or NaN or inf.
        """
        chunks, single = check_chunks(actions, self.shape)
        bins = to_bins(self.normalization.normalize(chunks), self.num_bins)
        return bins[0] if single else bins

    def decode(self, tokens: Any) -> Float[np.ndarray, "*b t a"]:
        """Returns float32 actions in robot units of bins [B, T, A] or [T, A], or flat lists of ids.

        Raises:
          TypeError: if the tokens are not integers.
          ValueError: on another shape, or a bin outside [0, num_bins).
        """
        bins = self._check_bins(tokens)
        return self.normalization.denormalize(from_bins(bins, self.num_bins))

    def __call__(self, actions: Any) -> list[list[int]]:
        """Returns one flat list of ids per chunk, step by step."""
        chunks, _ = check_chunks(actions, self.shape)
        return self.encode(chunks).reshape(len(chunks), -1).tolist()

    def _check_bins(self, tokens: Any) -> Int[np.ndarray, "*b t a"]:
        flat = is_flat_ids(tokens)
        if flat and any(len(ids) != self.tokens_per_chunk for ids in tokens):
            lengths = sorted({len(ids) for ids in tokens})
            raise ValueError(f"every chunk takes {self.tokens_per_chunk} ids, got {lengths}")
        bins = np.asarray(tokens)
        if not np.issubdtype(bins.dtype, np.integer):
            raise TypeError(f"tokens must be integers, got {bins.dtype}")
        bins = bins.reshape(-1, *self.shape) if flat else bins
        if bins.ndim not in (2, 3) or bins.shape[-2:] != self.shape:
            raise ValueError(
                f"tokens must have shape [B, {self.shape[0]}, {self.shape[1]}], got {bins.shape}"
            )
        if bins.size and (bins.min() < 0 or bins.max() >= self.num_bins):
            raise ValueError(
                f"tokens must be in [0, {self.num_bins}), got {bins.min()} to {bins.max()}"
            )
        return bins
