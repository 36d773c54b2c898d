"""Saves two tokenizers over each other, a few hundred times; it ends with the second one.

python -m tests.kills.saving --output=DIR
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from rfsq_jax.runs.claims import claim_folder, hold_folder
from rfsq_jax.tokenizers import ActionTokenizer

SAVES = 300


def main(output: Path) -> None:
    """Saves."""
    rng = np.random.default_rng(0)
    chunks = rng.uniform(-1, 1, (8, 4, 7)).astype(np.float32)
    fitted = [ActionTokenizer.fit(chunks, kind="bins", num_bins=bins) for bins in (64, 256)]
    with hold_folder(output):
        claim_folder(output, {})
        for number in range(SAVES):
            fitted[number % 2].save_pretrained(output / "tokenizer")


if __name__ == "__main__":
    main(Path(sys.argv[1].removeprefix("--output=")))
