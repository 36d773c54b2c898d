"""What a file keeps of FAST, and whether its parts fit each other."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from rfsq_jax.runs.checks import require
from rfsq_jax.runs.records import require_types
from rfsq_jax.tokenizers.fast_transform import LARGEST_ALPHABET, LARGEST_COEFFICIENT

if TYPE_CHECKING:
    import tokenizers

PLAIN = (
    "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
    "decoder",
)  # fmt: skip
"""Parts of a byte-pair encoding that would change text besides merging; ours has none."""


@dataclasses.dataclass(frozen=True)
class FastOptions:
    """How coefficients are rounded, and what is done with those that the alphabet lacks.

    Attributes:
      scale: multiplies the coefficients before rounding.
      clip_coefficients: clip them to the alphabet's ends, where the default is an error.
    """

    scale: float
    clip_coefficients: bool

    def __post_init__(self) -> None:
        require_types(self)
        require(self.scale > 0, "scale", "positive and finite", self.scale)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FastConfig(FastOptions):
    """All but the merges.

    Attributes:
      coefficient_range: the least and the greatest coefficient of the alphabet.
      mean_tokens: ids of a chunk, over the chunks that it was fitted to.
    """

    coefficient_range: tuple[int, int]
    mean_tokens: float

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.coefficient_range
        ordered = -LARGEST_COEFFICIENT <= low <= high <= LARGEST_COEFFICIENT
        require(ordered, "coefficient_range", "ascending int32", self.coefficient_range)
        expected = f"of at most {LARGEST_ALPHABET} coefficients"
        require(self.alphabet <= LARGEST_ALPHABET, "coefficient_range", expected, (low, high))
        require(self.mean_tokens > 0, "mean_tokens", "above 0", self.mean_tokens)

    @property
    def alphabet(self) -> int:
        """How many coefficients it has."""
        low, high = self.coefficient_range
        return high - low + 1


def read_bpe(description: Any) -> tokenizers.Tokenizer:
    """Reads what `Tokenizer.to_str` wrote, parsed as JSON.

    Raises:
      ValueError: if it is no byte-pair encoding, or does more than to merge.
    """
    from tokenizers import Tokenizer, models

    is_object = isinstance(description, dict)
    require(is_object, "bpe", "a JSON object", type(description).__name__)
    for name in PLAIN:
        require(not description.get(name), f"bpe.{name}", "absent", description.get(name))
    try:
        bpe = Tokenizer.from_str(json.dumps(description))
    except Exception as error:
        # The library says what is wrong with a plain Exception and with nothing else.
        if type(error) is not Exception:
            raise
        raise ValueError(f"bpe is no tokenizer: {error}") from error
    require(isinstance(bpe.model, models.BPE), "bpe.model", "BPE", type(bpe.model).__name__)
    return bpe


def pieces_of(bpe: tokenizers.Tokenizer, alphabet: int) -> list[str]:
    """Returns what each id spells.

    Raises:
      ValueError: unless ids are 0, 1, 2, ... and spell nothing but the alphabet, all of it.
    """
    vocab = bpe.get_vocab()
    pieces = sorted(vocab, key=vocab.__getitem__)
    numbered = sorted(vocab.values()) == list(range(len(vocab)))
    require(numbered, "bpe vocabulary", "numbered from 0 without gaps", sorted(vocab.values())[-3:])
    letters = {chr(index) for index in range(alphabet)}
    missing, unknown = letters - vocab.keys(), set("".join(pieces)) - letters
    expected = f"of the {alphabet} characters of coefficient_range"
    got = f"{len(missing)} missing and {len(unknown)} unknown"
    require(not missing and not unknown and "" not in vocab, "bpe vocabulary", expected, got)
    return pieces
