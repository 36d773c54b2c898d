"""Uniform bins per action dim: the tokenizer of RT-1, RT-2 and OpenVLA.

Every value is normalised by its 1 % and 99 % quantiles, clipped to [-1, 1], and becomes the index
of one of `num_bins` equal intervals; it decodes to the interval's centre. One token per value: 256
bins cost 8 bits. OpenVLA (arXiv 2406.09246) writes `linspace(-1, 1, 256)`, which is 256 edges and
so 255 intervals; here there are exactly `num_bins` intervals, so that no id is wasted.

Axes: B chunks · T steps of a chunk · A action dims.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.runs.checks import MAX_SIZE, require_range
from rfsq_jax.runs.records import parse_record, require_types
from rfsq_jax.tokenizers.ids import check_ids, is_flat_ids
from rfsq_jax.tokenizers.protocol import ActionTokenizer


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


@dataclasses.dataclass(frozen=True)
class BinConfig:
    """What a file keeps besides the action space."""

    num_bins: int

    def __post_init__(self) -> None:
        require_types(self)
        require_range(self, 2, MAX_SIZE, "num_bins")


class BinTokenizer(ActionTokenizer):
    """Uniform bins of every value: int32 [B, T, A].

    Attributes:
      num_bins: intervals per action dim.
    """

    kind = "bins"

    def __init__(self, space: ActionSpace, num_bins: int = 256) -> None:
        """Joins them.

        Raises:
          ValueError: if `num_bins` is no integer, or below 2 or above 65,536.
        """
        super().__init__(space)
        self.num_bins = BinConfig(num_bins).num_bins

    @classmethod
    def fit_chunks(
        cls, space: ActionSpace, chunks: Float[np.ndarray, "b t a"], *, num_bins: int = 256
    ) -> BinTokenizer:
        """Nothing is measured but the space."""
        return cls(space, num_bins)

    @classmethod
    def from_parts(
        cls, space: ActionSpace, config: Mapping[str, Any], arrays: Mapping[str, Any]
    ) -> BinTokenizer:
        """The inverse of `config_dict`."""
        return cls(space, parse_record(BinConfig, dict(config), "config").num_bins)

    def config_dict(self) -> dict[str, Any]:
        """The number of bins."""
        return {"num_bins": self.num_bins}

    @property
    def vocab_size(self) -> int:
        """How many bins there are."""
        return self.num_bins

    @property
    def tokens_per_chunk(self) -> int:
        """One token per value."""
        return self.horizon * self.action_dim

    def encode_chunks(self, chunks: Float[np.ndarray, "b t a"]) -> Int[np.ndarray, "b t a"]:
        """Checked chunks in robot units -> bins int32 [B, T, A]."""
        return to_bins(self.normalization.normalize(chunks), self.num_bins)

    def decode(self, tokens: Any) -> Float[np.ndarray, "*b t a"]:
        """Returns float32 actions in robot units of bins [B, T, A] or [T, A], or flat lists of ids.

        Raises:
          TypeError: if the tokens are not integers.
          ValueError: on another shape, or a bin outside [0, num_bins).
        """
        bins = self._unflatten(tokens) if is_flat_ids(tokens) else check_ids(tokens, self.num_bins)
        shape = (self.horizon, self.action_dim)
        if bins.ndim not in (2, 3) or bins.shape[-2:] != shape:
            raise ValueError(
                f"tokens must have shape [B, {shape[0]}, {shape[1]}], got {bins.shape}"
            )
        return self.normalization.denormalize(from_bins(bins, self.num_bins))

    def flatten(self, tokens: Int[np.ndarray, "b t a"]) -> list[list[int]]:
        """Returns one flat list of ids per chunk, step by step."""
        return tokens.reshape(len(tokens), -1).tolist()

    def _unflatten(self, tokens: Any) -> Int[np.ndarray, "b t a"]:
        lengths = {len(ids) for ids in tokens}
        if lengths != {self.tokens_per_chunk}:
            raise ValueError(
                f"every chunk takes {self.tokens_per_chunk} ids, got {sorted(lengths)}"
            )
        return check_ids(tokens, self.num_bins).reshape(-1, self.horizon, self.action_dim)
