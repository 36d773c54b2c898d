"""FAST: cosine transform, rounding and byte-pair encoding (Pertsch et al. 2025, arXiv 2501.09747).

    x = normalise(actions)                          by the 1 % and 99 % quantiles
    C = DCT-II(x) over time, orthonormal            C[k, a]: frequency k of dim a
    c = round(scale * C)                            the only step that loses anything
    s = chr(c - min_coefficient), frequency by frequency, all dims of one frequency side by side
    ids = BPE(s)                                    variable length

As in the published processor, one character stands for one coefficient and the alphabet spans the
coefficients seen by `fit`. Unlike it, merges may cross what a text pre-tokeniser takes for words
(shorter sequences), a coefficient outside the alphabet is an error unless `clip_coefficients` is
set, and ids that do not decode are an error, never a chunk of zeros.

Axes: B chunks · T steps of a chunk = frequencies · A action dims.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.runs.array_checks import as_array
from rfsq_jax.runs.checks import require, require_int
from rfsq_jax.runs.records import parse_record
from rfsq_jax.tokenizers.fast_config import FastConfig, FastOptions, pieces_of, read_bpe
from rfsq_jax.tokenizers.fast_transform import (
    LARGEST_ALPHABET,
    from_coefficients,
    from_text,
    to_coefficients,
    to_text,
    train_bpe,
)
from rfsq_jax.tokenizers.ids import check_ids, is_flat_ids
from rfsq_jax.tokenizers.protocol import ActionTokenizer

if TYPE_CHECKING:
    import tokenizers


class FastTokenizer(ActionTokenizer):
    """FAST behind the tokenizer interface: lists of ids that vary in length.

    Attributes:
      config: scale and alphabet.
    """

    kind = "fast"

    def __init__(self, space: ActionSpace, bpe: tokenizers.Tokenizer, config: FastConfig) -> None:
        """Joins them.

        Raises:
          ValueError: if the encoding has another alphabet than the config.
        """
        super().__init__(space)
        self.config = config
        self._bpe, self._pieces = bpe, pieces_of(bpe, config.alphabet)

    @classmethod
    def fit_chunks(
        cls,
        space: ActionSpace,
        chunks: Float[np.ndarray, "b t a"],
        *,
        scale: float = 10.0,
        vocab_size: int = 1024,
        clip_coefficients: bool = False,
    ) -> FastTokenizer:
        """Learns the alphabet and the merges of checked chunks in robot units.

        Args:
          space: of the chunks.
          chunks: float32 [B, T, A].
          scale: multiplies the coefficients before rounding; larger is finer and longer.
          vocab_size: ids at most; fewer where the chunks repeat too little.
          clip_coefficients: clip what the alphabet lacks to its ends; by default it is an error.

        Raises:
          TypeError: if `vocab_size` is no integer.
          ValueError: if the alphabet alone exceeds `vocab_size`, or an option is bad.
        """
        FastOptions(scale, clip_coefficients)
        require_int(vocab_size, "vocab_size")
        require(vocab_size >= 1, "vocab_size", "at least 1", vocab_size)
        coefficients = to_coefficients(space.normalization.normalize(chunks), scale)
        low, high = int(coefficients.min()), int(coefficients.max())
        alphabet = high - low + 1
        if alphabet > min(vocab_size, LARGEST_ALPHABET):
            raise ValueError(
                f"vocab_size must be at least {alphabet}, the coefficients from {low} to {high} "
                f"at scale {scale:g}, got {vocab_size}"
            )
        texts = [to_text(chunk, low) for chunk in coefficients]
        bpe = train_bpe(texts, alphabet, vocab_size)
        config = FastConfig(
            scale=scale,
            clip_coefficients=clip_coefficients,
            coefficient_range=(low, high),
            mean_tokens=float(np.mean([len(line.ids) for line in bpe.encode_batch(texts)])),
        )
        return cls(space, bpe, config)

    @classmethod
    def from_parts(
        cls, space: ActionSpace, config: Mapping[str, Any], arrays: Mapping[str, Any]
    ) -> FastTokenizer:
        """The inverse of `config_dict`."""
        options = dict(config)
        bpe = read_bpe(options.pop("bpe", None))
        return cls(space, bpe, parse_record(FastConfig, options, "config"))

    def config_dict(self) -> dict[str, Any]:
        """The alphabet, the merges and the options."""
        return {
            "scale": self.scale,
            "clip_coefficients": self.clip_coefficients,
            "coefficient_range": list(self.coefficient_range),
            "mean_tokens": self.config.mean_tokens,
            "bpe": json.loads(self._bpe.to_str()),
        }

    @property
    def scale(self) -> float:
        """What the coefficients are multiplied by."""
        return self.config.scale

    @property
    def clip_coefficients(self) -> bool:
        """Whether coefficients that the alphabet lacks are clipped; else they are an error."""
        return self.config.clip_coefficients

    @property
    def coefficient_range(self) -> tuple[int, int]:
        """The least and the greatest coefficient of the alphabet."""
        return self.config.coefficient_range

    @property
    def vocab_size(self) -> int:
        """Ids in use: the alphabet and the merges."""
        return len(self._pieces)

    @property
    def tokens_per_chunk(self) -> float:
        """Mean over the chunks that it was fitted to; what ends a sequence is not counted."""
        return self.config.mean_tokens

    @property
    def prefix_lengths(self) -> tuple[int, ...]:
        """None: a prefix does not decode."""
        return ()

    def coefficients(self, chunks: Float[np.ndarray, "b t a"]) -> Int[np.ndarray, "b t a"]:
        """Returns the integers that the ids of checked chunks carry without loss.

        Raises:
          ValueError: on a coefficient that the alphabet lacks.
        """
        found = to_coefficients(self.normalization.normalize(chunks), self.scale)
        low, high = self.coefficient_range
        if self.clip_coefficients:
            return np.clip(found, low, high)
        outside = np.argwhere((found < low) | (found > high))
        if len(outside):
            chunk, frequency, dim = outside[0].tolist()
            raise ValueError(
                f"coefficients must be in [{low}, {high}], the range that fit saw, got "
                f"{found[chunk, frequency, dim]} at chunk {chunk}, frequency {frequency}, "
                f"dim {dim} ({len(outside)} outside). Fit on wider data or set clip_coefficients"
            )
        return found

    def encode_coefficients(self, coefficients: Int[np.ndarray, "b t a"]) -> list[list[int]]:
        """Returns the ids of integer coefficients inside `coefficient_range`."""
        low, high = self.coefficient_range
        if coefficients.size and (coefficients.min() < low or coefficients.max() > high):
            got = f"{coefficients.min()} to {coefficients.max()}"
            raise ValueError(f"coefficients must be in [{low}, {high}], got {got}")
        texts = [to_text(chunk, low) for chunk in coefficients]
        return [line.ids for line in self._bpe.encode_batch(texts)]

    def decode_coefficients(self, tokens: Sequence[Any]) -> Int[np.ndarray, "b t a"]:
        """Returns the integer coefficients of lists of ids.

        Raises:
          ValueError: on an unknown id, or ids that do not spell exactly one chunk.
        """
        rows = [self._spell(index, ids) for index, ids in enumerate(tokens)]
        return np.array(rows, np.int32).reshape(-1, self.horizon, self.action_dim)

    def encode_chunks(self, chunks: Float[np.ndarray, "b t a"]) -> list[list[int]]:
        """Returns one list of ids per checked chunk.

        A chunk whose values all lie in the fitted range may still have a coefficient that no fitted
        chunk had, such as that of a sudden jump: what `check` of `encode` is for does not spare
        `clip_coefficients`, nor the other way round.

        Raises:
          ValueError: on a coefficient that the alphabet lacks, unless `clip_coefficients` is set.
        """
        return self.encode_coefficients(self.coefficients(chunks))

    def decode(self, tokens: Any) -> Float[np.ndarray, "*b t a"]:
        """Returns float32 actions in robot units: [B, T, A], or [T, A] of one bare list of ids.

        Raises:
          TypeError: if the ids are not integers.
          ValueError: on an unknown id, or ids that do not spell exactly one chunk.
        """
        single = not is_flat_ids(tokens)
        coefficients = self.decode_coefficients([tokens] if single else tokens)
        actions = self.normalization.denormalize(from_coefficients(coefficients, self.scale))
        return actions[0] if single else actions

    def flatten(self, tokens: list[list[int]]) -> list[list[int]]:
        """Returns the same: they are flat already."""
        return tokens

    def _spell(self, index: int, ids: Any) -> Int[np.ndarray, " n"]:
        name = f"tokens of chunk {index}"
        values = as_array(ids, name)
        if values.ndim != 1 or not (values.size == 0 or np.issubdtype(values.dtype, np.integer)):
            raise TypeError(f"{name} must be a flat list of integers, got {ids!r}")
        values = check_ids(values, len(self._pieces), name)
        text = "".join(self._pieces[i] for i in values.tolist())
        row = from_text(text, self.coefficient_range[0])
        expected = self.horizon * self.action_dim
        if len(row) != expected:
            raise ValueError(f"{name} must spell {expected} coefficients, got {len(row)}")
        return row
