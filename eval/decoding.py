"""Measures speculative decoding and the early exit of a policy on held-out frames.

    python -m eval.decoding --policy runs/heads/small/policy --features runs/features/small

Are speculative tokens those of greedy decoding? How many proposals are accepted? What do exits save
and cost? The threshold is chosen on every second held-out episode and measured on the others.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from eval.benchmarks.timing import Spread, busy_note, take_turns
from eval.studies import decoding_cost as cost
from eval.studies.decoding_frames import (
    acceptance_figures,
    exit_curve,
    measure_frames,
    plot,
    spread_rows,
)
from rfsq_jax.backbones.protocol import Backbone
from rfsq_jax.features.store import FeatureStore
from rfsq_jax.heads.early_exit import MAX_EXCESS, NEVER, Cost, CurvePoint
from rfsq_jax.policies.loading import PolicyOptions
from rfsq_jax.policies.parts import PolicyParts
from rfsq_jax.runs.checks import require, require_positive
from rfsq_jax.runs.commands import STARTS_AGAIN, command, user_errors
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.terminal import format_table, progress_bar

COMMAND = "eval.decoding"
LARGEST_TIME, LARGEST_ERROR = 0.7, 1.03


@dataclasses.dataclass(frozen=True)
class DecodingConfig(PolicyOptions):
    """What is measured, on what: a policy of token heads with a draft.

    Attributes:
      features: folder of train.features, of the policy's backbone and tokenizer.
      rows: held-out frames at most, spread evenly.
      batch_size: frames that are decoded together when tokens are compared.
      max_excess: how much larger the mean error may be with early exits where the threshold is
        chosen, relative; below what is allowed, since other episodes differ.
      rounds: how often every contestant takes its turn when time is measured.
      calls: calls in one turn.
      output: folder of results.json and decoding.png.
    """

    features: Path = Path("runs/features/small")
    rows: int = 10_000
    batch_size: int = 16
    max_excess: float = MAX_EXCESS
    rounds: int = 15
    calls: int = 20
    output: Path = Path("runs/decoding")

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(self, "rows", "batch_size", "rounds", "calls")
        require(self.max_excess >= 0, "max_excess", "0 or more", self.max_excess)


@command(COMMAND, STARTS_AGAIN)
def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the tables, writes results.json and the picture."""
    config = parse(DecodingConfig, argv, command=COMMAND, description=__doc__)
    with user_errors(COMMAND):
        policy = config.load_with_draft()
        store = FeatureStore.open(config.features)
        store.require(policy.backbone.spec, policy.parts.space)
        episodes = len(np.unique(store.episode[store.rows("held_out")]))
        require(episodes >= 2, "features", "of at least 2 held-out episodes", episodes)
    figures, points = run(config, policy.parts, policy.backbone, store)
    plot(figures, points, config.output / "decoding.png")
    write_results(config.output, figures=figures, config=config)
    return 0 if figures["speculation"]["identical"] == figures["speculation"]["chunks"] else 1


def run(
    config: DecodingConfig, parts: PolicyParts, backbone: Backbone, store: FeatureStore
) -> tuple[dict[str, Any], list[CurvePoint]]:
    """Measures everything; returns what results.json keeps, and the early-exit curve."""
    note = busy_note()
    rows = spread_rows(store.rows("held_out"), config.rows)
    with progress_bar(len(rows), "decoding", "chunk") as bar:
        frames, acceptance = measure_frames(parts, store, rows, config.batch_size, bar.update)
    groups = {
        "policy": cost.policy_contestants(parts, backbone, config.calls),
        "heads": cost.heads_contestants(parts, config.calls),
    }
    with progress_bar(len(groups) * config.rounds, "timing", "round") as bar:
        seconds = {
            group: take_turns(contestants, config.rounds, bar.update)
            for group, contestants in groups.items()
        }
    time = Cost(
        *(Spread.of(seconds["policy"][name]).median for name in (cost.FULL, cost.EXIT, cost.STAY))
    )
    flops = cost.count_flops(parts, backbone)
    chosen, points = exit_curve(frames, store.episode[rows], config.max_excess, flops, time)
    speculation = acceptance_figures(frames, acceptance, parts)
    print(speculation_text(speculation), timing_table(seconds), sep="\n\n", end="\n\n")
    print(curve_table(points, chosen), verdict(points, chosen), sep="\n")
    print(note, end="\n" if note else "")
    return {
        "jax_backend": jax.default_backend(),
        "speculation": speculation,
        "seconds": seconds,
        "flops": dataclasses.asdict(flops),
        "early_exit": {
            "calibrated": dataclasses.asdict(chosen),
            "curve": [dataclasses.asdict(point) for point in points],
            "error_of_main": float(frames.error_main.mean()),
            "error_of_draft": float(frames.error_draft.mean()),
        },
    }, points


def speculation_text(figures: dict[str, Any]) -> str:
    """Says whether speculation is lossless, and what it accepts."""
    same, chunks = figures["identical"], figures["chunks"]
    layers = ", ".join(f"L{i} {share:.1%}" for i, share in enumerate(figures["tokens_per_layer"]))
    steps = ", ".join(f"{share:.1%}" for share in figures["steps"])
    return (
        f"{'pass' if same == chunks else 'FAIL'}  speculative tokens are those of greedy decoding "
        f"on {same} of {chunks} held-out chunks\n"
        f"accepted tokens: {layers}\naccepted steps, first to last: {steps}\n"
        f"accepted chunks: {figures['whole_chunks']:.2%}"
    )


def timing_table(seconds: dict[str, dict[str, list[float]]]) -> str:
    """Milliseconds at batch 1."""
    rows = [
        [f"{group}, {name}", str(Spread.of([1e3 * value for value in values]))]
        for group, contestants in seconds.items()
        for name, values in contestants.items()
    ]
    return format_table(["one chunk at a time", "ms"], rows) + "\nmedian (min to max) over rounds"


def curve_table(points: Sequence[CurvePoint], chosen: CurvePoint) -> str:
    """The early-exit curve, relative to the greedy policy; the calibrated threshold comes last."""
    rows = [
        [name, "never" if p.threshold == NEVER else f"{p.threshold:.4f}", f"{p.exit_share:.1%}",
         f"{p.flops:.1%}", f"{p.seconds:.1%}", f"{p.error:.1%}"]
        for name, p in [*(("", point) for point in points), ("calibrated", chosen)]
    ]  # fmt: skip
    return format_table(["early exit", "threshold", "exits", "FLOPs", "time", "error"], rows)


def verdict(points: Sequence[CurvePoint], chosen: CurvePoint) -> str:
    """Says whether exits save the time that they should for the error that they may cost."""
    enough = chosen.seconds <= LARGEST_TIME and chosen.error <= LARGEST_ERROR
    on_curve = [p for p in points if p.seconds <= LARGEST_TIME and p.error <= LARGEST_ERROR]
    return (
        f"{'pass' if enough else 'FAIL'}  the calibrated threshold takes {chosen.seconds:.1%} of "
        f"the time (at most {LARGEST_TIME:.0%} wanted) at {chosen.error:.1%} of the error (at most "
        f"{LARGEST_ERROR:.0%}); {len(on_curve)} of {len(points)} points of the curve do both"
    )


if __name__ == "__main__":
    sys.exit(main())
