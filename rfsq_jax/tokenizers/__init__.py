"""Action chunks in, tokens out.

protocol     what every kind offers: `ActionTokenizer`
decoder      what heads need of one
ordered      few ordered tokens of a whole chunk
step         RFSQ autoencoder of one time step, the reference's
autoencoder  its networks, as pure functions
bins, fast   what a user would pick instead
files        a tokenizer on disk
rates        error against bits and tokens, of any kind
"""

from __future__ import annotations

import importlib

from rfsq_jax.runs.checks import require_choice
from rfsq_jax.tokenizers.decoder import Decoder
from rfsq_jax.tokenizers.protocol import ActionTokenizer

__all__ = ["ActionTokenizer", "Decoder", "kinds"]

KINDS = {
    "step": "rfsq_jax.tokenizers.step:StepTokenizer",
    "ordered": "rfsq_jax.tokenizers.ordered.tokenizer:OrderedTokenizer",
    "bins": "rfsq_jax.tokenizers.bins:BinTokenizer",
    "fast": "rfsq_jax.tokenizers.fast:FastTokenizer",
}
"""Kind -> module:class, imported when it is first asked for; a further kind is a further line."""


def kinds() -> tuple[str, ...]:
    """The kinds that exist."""
    return tuple(KINDS)


def tokenizer_class(kind: str) -> type[ActionTokenizer]:
    """The class of a kind.

    Raises:
      ValueError: for an unknown kind; it lists those that exist.
    """
    require_choice(kind, KINDS, "kind")
    module, name = KINDS[kind].split(":")
    return getattr(importlib.import_module(module), name)
