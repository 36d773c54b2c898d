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

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from rfsq_jax.data.normalization import Normalization
from rfsq_jax.tokenizers.protocol import check_chunks, check_fitted, is_flat_ids

if TYPE_CHECKING:
    import tokenizers

# chr() of the surrogate range is no text, so an alphabet must end before it.
LARGEST_ALPHABET = 0xD800


def to_coefficients(x: Float[np.ndarray, "b t a"], scale: float) -> Int[np.ndarray, "b t a"]:
    """Returns the rounded, scaled cosine coefficients over time."""
    import scipy.fft

    spectrum = scipy.fft.dct(x.astype(np.float64), axis=1, norm="ortho")
    return np.rint(np.asarray(spectrum) * scale).astype(np.int32)


def from_coefficients(
    coefficients: Int[np.ndarray, "b t a"], scale: float
) -> Float[np.ndarray, "b t a"]:
    """Returns the float32 values over time of rounded coefficients."""
    import scipy.fft

    return np.asarray(scipy.fft.idct(coefficients / scale, axis=1, norm="ortho"), np.float32)


def to_text(coefficients: Int[np.ndarray, "t a"], min_coefficient: int) -> str:
    """Writes one character per coefficient, lowest frequency first, dims interleaved."""
    return "".join(map(chr, (coefficients - min_coefficient).ravel().tolist()))


def from_text(text: str, min_coefficient: int) -> Int[np.ndarray, " n"]:
    """Reads the coefficients that `to_text` wrote."""
    return np.array([ord(character) for character in text], np.int32) + min_coefficient


def train_bpe(texts: Iterable[str], alphabet: int, vocab_size: int) -> tokenizers.Tokenizer:
    """Learns byte-pair merges over chr(0) .. chr(alphabet - 1), whole chunks at a time."""
    from tokenizers import Tokenizer, models, trainers

    bpe = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[],
        initial_alphabet=[chr(index) for index in range(alphabet)],
        limit_alphabet=alphabet,
    )
    bpe.train_from_iterator(texts, trainer=trainer)
    return bpe


class _Fitted(NamedTuple):
    """What `fit` learned."""

    bpe: tokenizers.Tokenizer
    pieces: list[str]
    normalization: Normalization
    shape: tuple[int, int]
    low: int
    high: int
    mean_tokens: float


class FastTokenizer:
    """FAST behind the tokenizer interface; its sequences vary in length.

    Args:
      scale: multiplies the coefficients before rounding; larger is finer and longer.
      vocab_size: ids at most; fewer where the training data repeats too little.
      clip_coefficients: clip what the alphabet lacks to its ends, where the default is an error.

    Raises:
      ValueError: if `scale` or `vocab_size` is not positive.
    """

    def __init__(
        self, scale: float = 10.0, vocab_size: int = 1024, clip_coefficients: bool = False
    ) -> None:
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale must be positive and finite, got {scale}")
        if vocab_size < 1:
            raise ValueError(f"vocab_size must be at least 1, got {vocab_size}")
        self.scale = scale
        self.clip_coefficients = clip_coefficients
        self._vocab_limit = vocab_size
        self._fitted: _Fitted | None = None

    def fit(self, actions: Any) -> FastTokenizer:
        """Measures the normalisation and the merges of actions float [B, T, A]; returns itself.

        Raises:
          ValueError: on bad actions, or if the alphabet alone exceeds `vocab_size`.
        """
        chunks, _ = check_chunks(actions)
        normalization = Normalization.fit(chunks.reshape(-1, chunks.shape[2]))
        coefficients = to_coefficients(normalization.normalize(chunks), self.scale)
        low, high = int(coefficients.min()), int(coefficients.max())
        alphabet = high - low + 1
        if alphabet > min(self._vocab_limit, LARGEST_ALPHABET):
            raise ValueError(
                f"vocab_size must be at least {alphabet}, the coefficients from {low} to {high} "
                f"at scale {self.scale:g}, got {self._vocab_limit}"
            )
        texts = [to_text(chunk, low) for chunk in coefficients]
        bpe = train_bpe(texts, alphabet, self._vocab_limit)
        mean_tokens = float(np.mean([len(line.ids) for line in bpe.encode_batch(texts)]))
        shape = (chunks.shape[1], chunks.shape[2])
        vocab = bpe.get_vocab()
        pieces = sorted(vocab, key=vocab.__getitem__)
        self._fitted = _Fitted(bpe, pieces, normalization, shape, low, high, mean_tokens)
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """(T, A) of a chunk."""
        return self._state.shape

    @property
    def normalization(self) -> Normalization:
        """The fitted statistics."""
        return self._state.normalization

    @property
    def coefficient_range(self) -> tuple[int, int]:
        """The smallest and the largest coefficient that the alphabet holds."""
        return self._state.low, self._state.high

    @property
    def vocab_size(self) -> int:
        """Ids in use: the alphabet and the merges."""
        return len(self._state.pieces)

    @property
    def tokens_per_chunk(self) -> float:
        """Mean over the chunks that `fit` saw."""
        return self._state.mean_tokens

    @property
    def bits_per_chunk(self) -> float:
        """Mean tokens times log2(vocab_size); what marks the end of a sequence is not counted."""
        return self.tokens_per_chunk * math.log2(self.vocab_size)

    def coefficients(self, actions: Any) -> Int[np.ndarray, "b t a"]:
        """Returns the integers that the ids carry without loss.

        Raises:
          TypeError, ValueError: on bad actions, or a coefficient that the alphabet lacks.
        """
        chunks, _ = check_chunks(actions, self.shape)
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
        return [line.ids for line in self._state.bpe.encode_batch(texts)]

    def decode_coefficients(self, tokens: Sequence[Any]) -> Int[np.ndarray, "b t a"]:
        """Returns the integer coefficients of lists of ids.

        Raises:
          ValueError: on an unknown id, or ids that do not spell exactly one chunk.
        """
        rows = [self._spell(index, ids) for index, ids in enumerate(tokens)]
        return np.array(rows, np.int32).reshape(-1, *self.shape)

    def encode(self, actions: Any) -> list[list[int]] | list[int]:
        """Returns one list of ids per chunk of actions [B, T, A]; a bare list for [T, A].

        Raises:
          TypeError, ValueError: on bad actions, or a coefficient that the alphabet lacks.
        """
        ids = self(actions)
        return ids[0] if np.ndim(actions) == 2 else ids

    def decode(self, tokens: Any) -> Float[np.ndarray, "*b t a"]:
        """Returns float32 actions in robot units: [B, T, A], or [T, A] of one bare list of ids."""
        single = not is_flat_ids(tokens)
        coefficients = self.decode_coefficients([tokens] if single else tokens)
        actions = self.normalization.denormalize(from_coefficients(coefficients, self.scale))
        return actions[0] if single else actions

    def __call__(self, actions: Any) -> list[list[int]]:
        """Returns one list of ids per chunk, also for a single one."""
        return self.encode_coefficients(self.coefficients(actions))

    @property
    def _state(self) -> _Fitted:
        return check_fitted(self._fitted, "FastTokenizer")

    def _spell(self, index: int, ids: Any) -> Int[np.ndarray, " n"]:
        pieces, values = self._state.pieces, np.asarray(ids)
        if values.ndim != 1 or not (values.size == 0 or np.issubdtype(values.dtype, np.integer)):
            raise TypeError(f"tokens of chunk {index} must be a flat list of integers, got {ids!r}")
        if values.size and (values.min() < 0 or values.max() >= len(pieces)):
            got = f"{values.min()} to {values.max()}"
            raise ValueError(f"tokens of chunk {index} must be in [0, {len(pieces)}), got {got}")
        row = from_text("".join(pieces[i] for i in values.tolist()), self._state.low)
        if len(row) != math.prod(self.shape):
            expected = math.prod(self.shape)
            raise ValueError(
                f"tokens of chunk {index} must spell {expected} coefficients, got {len(row)}"
            )
        return row
