"""Compares action tokenizers on held-out episodes, at their bits and tokens per chunk.

    python -m eval.tokenizers
    python -m eval.tokenizers --actions my_demonstrations.hdf5 --runs runs/ae/naive runs/ae/robust

Measured: 256 bins, FAST at several scales, and naive, scale and robust RFSQ with every prefix of
their layers. RFSQ tokenizers come from `--runs`; robust is the bundled one unless other actions are
given; what is still missing is trained here, on the same episodes as the rest.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

import numpy as np

from eval.studies.tokenizer_candidates import (
    Row,
    TokenizersConfig,
    baselines,
    clipped_chunks,
    load_chunks,
    measure,
    residual,
)
from eval.studies.tokenizer_figure import plot
from rfsq_jax.runs.commands import STARTS_AGAIN, command, user_errors
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.terminal import format_table, progress_bar

COMMAND = "eval.tokenizers"
HEADER = (
    "tokenizer", "tokens", "bits", "entropy", "MSE", "max", "mm", "deg", "flips", "overlap", "live",
    "levels", "encode",
)  # fmt: skip
LEGEND = """\
bits: per chunk, every token at log2(vocabulary). entropy: bits if each token cost its entropy.
MSE, max: normalised actions. mm, deg: mean error per step. flips: wrong gripper signs.
overlap: tokens that stay one step on; live: the same without constant tokens.
levels: mean perplexity of a layer. encode: microseconds per chunk, in one batch."""


@command(COMMAND, STARTS_AGAIN)
def main(argv: Sequence[str] | None = None) -> int:
    """Measures every tokenizer, prints the table, writes results.json and the picture."""
    config = parse(TokenizersConfig, argv, command=COMMAND, description=__doc__)
    with user_errors(COMMAND):
        run(config)
    return 0


def run(config: TokenizersConfig) -> list[Row]:
    """Does what `main` does, for a config, and returns the rows."""
    train, held_out = load_chunks(config)
    candidates = [*baselines(config, train), *residual(config, train)]
    rows: list[Row] = []
    with progress_bar(len(candidates), "measuring", "tokenizer") as bar:
        for candidate in candidates:
            rows += measure(candidate, held_out)
            bar.update(1)
    print(f"{len(held_out.chunks)} held-out chunks of {config.horizon} steps")
    print(format_table(HEADER, [table_row(row) for row in rows]), LEGEND, sep="\n\n")
    figures = {
        "train_chunks": len(train),
        "held_out_chunks": len(held_out.chunks),
        "fast_clipped_chunks": clipped_chunks(candidates, held_out),
        "tokenizers": [dataclasses.asdict(row) for row in rows],
    }
    plot(rows, config.output / "tokenizers.png")
    write_results(config.output, figures=figures, config=config)
    return rows


def table_row(row: Row) -> list[str]:
    """Returns the cells of one line."""
    errors, statistics = row.errors, row.statistics
    return [
        row.name,
        f"{row.tokens:.4g}",
        f"{row.bits:.0f}",
        f"{statistics.entropy_bits:.0f}",
        f"{errors['mse']:.2e}",
        f"{errors['max_error']:.3f}",
        *(_cell(errors, name) for name in ("translation_mm", "rotation_deg", "gripper_flips")),
        f"{statistics.overlap:.1%}",
        f"{statistics.live_overlap:.1%}",
        f"{np.mean(statistics.perplexity):.4g}",
        f"{row.encode_us:.1f}",
    ]


def _cell(errors: dict[str, float], name: str) -> str:
    """A figure that robots without such dims do not have."""
    if name not in errors:
        return "-"
    return f"{errors[name]:.2%}" if name == "gripper_flips" else f"{errors[name]:.3f}"


if __name__ == "__main__":
    sys.exit(main())
