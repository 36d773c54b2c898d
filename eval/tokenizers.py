"""The report card of action tokenizers, on held-out episodes of any actions.

    python -m eval.tokenizers
    python -m eval.tokenizers --data my_demonstrations.npz --horizon 8 16 32
    python -m eval.tokenizers --tokenizers libero runs/ae/robust --fit bins fast

Measured: error against bits and tokens, at fixed lengths and with each chunk cut at its own, beside
FAST at the same bits; order of the tokens, overlap, neighbour ranks, balance, what wrong tokens do,
how many sequences do not decode; speed and size. Tokenizers are given, also as folders of Hugging
Face processors in FAST's style, or fitted here to the training part, with several seeds.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eval.studies.report_card import tables
from eval.studies.report_card.beside_fast import BesideFast, beside_fast, bits_range
from eval.studies.report_card.candidates import clipped_chunks, fitted, given
from eval.studies.report_card.card import Card, measure
from eval.studies.report_card.config import TokenizersConfig
from eval.studies.report_card.data import HeldOut, load_chunks
from eval.studies.report_card.figure import plot
from rfsq_jax.runs.commands import STARTS_AGAIN, command, user_errors
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.results import without_nan, write_results
from rfsq_jax.runs.terminal import progress_bar

COMMAND = "eval.tokenizers"


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """One horizon.

    Attributes:
      horizon: steps T of a chunk.
      train_chunks: how many chunks were fitted to.
      held_out: what was measured on.
      clipped: see `clipped_chunks`.
      cards: of every tokenizer and seed.
    """

    horizon: int
    train_chunks: int
    held_out: HeldOut
    clipped: dict[str, int]
    cards: list[Card]


@command(COMMAND, STARTS_AGAIN)
def main(argv: Sequence[str] | None = None) -> int:
    """Measures every tokenizer, prints the tables, writes results.json and the pictures."""
    config = parse(TokenizersConfig, argv, command=COMMAND, description=__doc__)
    with user_errors(COMMAND):
        run(config)
    return 0


def run(config: TokenizersConfig) -> list[Report]:
    """Does what `main` does, for a config, and returns the reports of its horizons."""
    parts = {horizon: load_chunks(config, horizon) for horizon in config.horizon}
    reports = []
    for horizon, part in parts.items():
        report = measure_all(config, horizon, *part)
        found = beside_fast(report.cards)
        plot(report.cards, found, config.output / picture(config, horizon))
        print_report(config, report, found)
        reports.append(report)
    figures = {str(report.horizon): figures_of(report) for report in reports}
    path = write_results(config.output, figures={"horizons": figures}, config=config)
    print(f"figures: {path}")
    return reports


def measure_all(
    config: TokenizersConfig, horizon: int, train: Float[np.ndarray, "m t a"], held_out: HeldOut
) -> Report:
    """Fits and measures the tokenizers of one horizon.

    Raises:
      ValueError: as `candidates.given` and `card.measure`; if there is no tokenizer.
    """
    candidates = [*given(config, train), *fitted(config, train)]
    if not candidates:
        raise ValueError(f"expected a tokenizer of horizon {horizon} to measure, got none")
    cards, clipped = [], {}
    with progress_bar(len(candidates), f"measuring, {horizon} steps", "tokenizer") as bar:
        for candidate in candidates:
            bar.set_postfix_str(candidate.name)
            tokenizer = candidate.make()
            clipped |= clipped_chunks(candidate.name, tokenizer, held_out.chunks)
            cards.append(measure(candidate, tokenizer, train, held_out, config.statistics_chunks))
            bar.update(1)
    return Report(horizon, len(train), held_out, clipped, cards)


def print_report(config: TokenizersConfig, report: Report, found: list[BesideFast]) -> None:
    """Prints the tables of one horizon."""
    cards, values = report.cards, report.held_out.chunks[0].size
    within = bits_range(config.compare_bits, values)
    print(f"{len(report.held_out.chunks)} held-out chunks of {report.horizon} steps")
    parts = [tables.errors_table(cards), tables.ERRORS_LEGEND]
    if any(card.has_prefixes for card in cards):
        parts += [tables.tolerance_table(cards), tables.CUT_LEGEND]
    if found:
        parts += [tables.ratio_table(cards, found), tables.FAST_LEGEND]
        parts += [tables.curve_table(found, within), tables.CURVE_LEGEND]
        parts += [tables.verdicts(found, within)]
    parts += [tables.figures_table(cards, tables.STATISTICS), tables.STATISTICS_LEGEND]
    parts += [tables.figures_table(cards, tables.COSTS), tables.COST_LEGEND]
    print(*parts, sep="\n\n")
    print(f"\npicture: {config.output / picture(config, report.horizon)}")


def picture(config: TokenizersConfig, horizon: int) -> Path:
    """The file of a horizon's picture; its name tells the horizon where there are several."""
    return Path("tokenizers.png" if len(config.horizon) == 1 else f"tokenizers_{horizon}.png")


def figures_of(report: Report) -> dict[str, Any]:
    """What results.json keeps of one horizon."""
    return {
        "train_chunks": report.train_chunks,
        "held_out_chunks": len(report.held_out.chunks),
        "fast_clipped_chunks": report.clipped,
        "tokenizers": [without_nan(dataclasses.asdict(card)) for card in report.cards],
        "beside_fast": [without_nan(dataclasses.asdict(e)) for e in beside_fast(report.cards)],
    }


if __name__ == "__main__":
    sys.exit(main())
