"""What a tokenizer costs: time to encode and decode, numpy to numpy, and size.

Axes: B chunks · T steps · A action dims.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float

from eval.benchmarks.timing import repeated, take_turns
from rfsq_jax.runs.trees import flatten
from rfsq_jax.tokenizers import ActionTokenizer

BATCH, ROUNDS, CALLS = 1024, 3, 10


@dataclasses.dataclass(frozen=True)
class Cost:
    """Medians over rounds.

    Attributes:
      encode_per_second: chunks, in batches of `BATCH`.
      decode_per_second: likewise.
      encode_ms: one chunk alone.
      decode_ms: likewise.
      parameters: numbers in its arrays; what a byte-pair encoding learned is none.
      bytes: of its files.
    """

    encode_per_second: float
    decode_per_second: float
    encode_ms: float
    decode_ms: float
    parameters: int
    bytes: int


def cost(tokenizer: ActionTokenizer, chunks: Float[np.ndarray, "b t a"]) -> Cost:
    """Measures a tokenizer on chunks in robot units, repeated until they fill a batch."""
    batch = chunks[np.arange(BATCH) % len(chunks)]
    one = batch[:1]
    tokens, token = tokenizer.encode(batch), tokenizer.encode(one)
    seconds = take_turns(
        {
            "encode": repeated(lambda: tokenizer.encode(batch), 1),
            "decode": repeated(lambda: tokenizer.decode(tokens), 1),
            "encode one": repeated(lambda: tokenizer.encode(one), CALLS),
            "decode one": repeated(lambda: tokenizer.decode(token), CALLS),
        },
        ROUNDS,
    )
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    return Cost(
        encode_per_second=BATCH / median["encode"],
        decode_per_second=BATCH / median["decode"],
        encode_ms=1e3 * median["encode one"],
        decode_ms=1e3 * median["decode one"],
        parameters=sum(int(np.size(leaf)) for leaf in flatten(tokenizer.arrays()).values()),
        bytes=bytes_on_disk(tokenizer),
    )


def bytes_on_disk(tokenizer: ActionTokenizer) -> int:
    """How many bytes `save_pretrained` writes."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "tokenizer"
        tokenizer.save_pretrained(folder)
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
