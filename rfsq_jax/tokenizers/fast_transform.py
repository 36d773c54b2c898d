"""The steps of FAST: cosine coefficients, their text, and byte-pair merges over it.

Axes: B chunks · T steps of a chunk = frequencies · A action dims.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    import tokenizers

# chr() of the surrogate range is no text, so an alphabet must end before it.
LARGEST_ALPHABET = 0xD800
LARGEST_COEFFICIENT = 2**31 - 1


def to_coefficients(x: Float[np.ndarray, "b t a"], scale: float) -> Int[np.ndarray, "b t a"]:
    """Returns the rounded, scaled cosine coefficients over time; at most what int32 holds."""
    import scipy.fft

    spectrum = scipy.fft.dct(x.astype(np.float64), axis=1, norm="ortho")
    rounded = np.rint(np.asarray(spectrum) * scale)
    return np.clip(rounded, -LARGEST_COEFFICIENT, LARGEST_COEFFICIENT).astype(np.int32)


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
