"""Instructions as vectors without weights: a hashed bag of words and runs of words.

Every word and every run of two or three words stands for a fixed random direction, so sentences
that share words lie close. Pairs alone do not tell "stack the left bowl on the right bowl" from its
reverse. Enough for the closed set of a benchmark's instructions; it knows no synonyms.

Axes: E width.
"""

from __future__ import annotations

import hashlib
import re

import numpy as np
from jaxtyping import Float32

LONGEST_RUN = 3


def embed_words(instruction: str, width: int) -> Float32[np.ndarray, " e"]:
    """A lower-cased sentence -> float32 [E] of unit mean square."""
    words = re.findall(r"[^\W_]+", instruction.lower()) or [instruction.strip()]
    terms = [
        " ".join(words[start : start + size])
        for size in range(1, LONGEST_RUN + 1)
        for start in range(len(words) - size + 1)
    ]
    total = np.sum([_signs(term, width) for term in terms], axis=0)
    return (total / np.sqrt(np.mean(total**2))).astype(np.float32)


def _signs(term: str, width: int) -> Float32[np.ndarray, " e"]:
    """A direction of -1 and +1 that depends on the term alone."""
    bits = hashlib.shake_128(term.encode()).digest(-(-width // 8))
    return 2.0 * np.unpackbits(np.frombuffer(bits, np.uint8))[:width].astype(np.float32) - 1.0
