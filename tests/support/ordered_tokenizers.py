"""An ordered tokenizer of the simplest kind: cosine coefficients on fixed grids, low ones first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.fft
from jaxtyping import Float, Int

from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.tokenizers import ActionTokenizer
from rfsq_jax.tokenizers.ids import check_ids, is_flat_ids, require_prefix


class CosineTokenizer(ActionTokenizer):
    """One id per cosine coefficient: int32 [B, N]; every id is legal, every prefix decodes.

    Attributes:
      levels: of each coefficient.
      reach: the largest coefficient that is not clipped.
    """

    kind = "cosine"

    def __init__(self, space: ActionSpace, levels: int = 127, reach: float = 6.0) -> None:
        super().__init__(space)
        self.levels, self.reach = levels, reach

    @classmethod
    def fit_chunks(
        cls, space: ActionSpace, chunks: Float[np.ndarray, "b t a"], *, levels: int = 127
    ) -> CosineTokenizer:
        return cls(space, levels)

    @classmethod
    def from_parts(
        cls, space: ActionSpace, config: Mapping[str, Any], arrays: Mapping[str, Any]
    ) -> CosineTokenizer:
        return cls(space, **config)

    def config_dict(self) -> dict[str, Any]:
        return {"levels": self.levels, "reach": self.reach}

    @property
    def vocab_size(self) -> int:
        return self.levels

    @property
    def tokens_per_chunk(self) -> int:
        return self.horizon * self.action_dim

    @property
    def prefix_lengths(self) -> tuple[int, ...]:
        return tuple(range(self.tokens_per_chunk + 1))

    def decode_prefix(self, tokens: Any, length: int) -> Float[np.ndarray, "*b t a"]:
        require_prefix(length, self.prefix_lengths)
        return self.decode(np.asarray(tokens)[:, :length])

    def encode_chunks(self, chunks: Float[np.ndarray, "b t a"]) -> Int[np.ndarray, "b n"]:
        values = self.normalization.normalize(chunks).astype(np.float64)
        spectrum = np.asarray(scipy.fft.dct(values, axis=1, norm="ortho")).reshape(len(chunks), -1)
        ids = np.rint((spectrum / self.reach + 1) / 2 * (self.levels - 1))
        return np.clip(ids, 0, self.levels - 1).astype(np.int32)

    def decode(self, tokens: Any) -> Float[np.ndarray, "b t a"]:
        ids = np.stack(self._filled(tokens)) if is_flat_ids(tokens) else np.asarray(tokens)
        check_ids(ids, self.levels)
        spectrum = np.zeros((len(ids), self.tokens_per_chunk))
        spectrum[:, : ids.shape[1]] = (2 * ids / (self.levels - 1) - 1) * self.reach
        spectrum = spectrum.reshape(-1, self.horizon, self.action_dim)
        values = np.asarray(scipy.fft.idct(spectrum, axis=1, norm="ortho"), np.float32)
        return self.normalization.denormalize(values)

    def flatten(self, tokens: Int[np.ndarray, "b n"]) -> list[list[int]]:
        return tokens.tolist()

    def _filled(self, tokens: Any) -> list[Int[np.ndarray, " n"]]:
        return [check_ids(ids, self.levels) for ids in tokens]
