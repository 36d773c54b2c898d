"""Teaches a policy's draft head what its main head says, and calibrates the early exit again.

python -m train.draft --policy runs/heads/small/policy --features runs/features/small
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from rfsq_jax.features.store import FeatureStore
from rfsq_jax.heads import network
from rfsq_jax.heads.early_exit import MAX_EXCESS
from rfsq_jax.policies.files import save_policy
from rfsq_jax.policies.loading import PolicyOptions
from rfsq_jax.policies.parts import PolicyParts
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.claims import claim_folder, hold_folder
from rfsq_jax.runs.commands import command, opened, user_errors
from rfsq_jax.runs.options import parse_training
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.terminal import format_table
from rfsq_jax.training.heads import evaluation
from rfsq_jax.training.heads.data import HeadsData
from rfsq_jax.training.heads.distillation import DraftTraining, distill
from rfsq_jax.training.heads.training import BEST_METRIC
from rfsq_jax.training.loop import recorded

COMMAND = "train.draft"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftRun(PolicyOptions):
    """One run on a policy of token heads with a draft.

    Attributes:
      features: folder of train.features that the policy was trained on.
      training: how.
      max_excess: how much larger the mean error may be with early exits where the threshold is
        chosen, relative; more held-out episodes allow to come closer to what is wanted.
      output: the run's folder; the same command resumes what is there.
    """

    features: Path = Path("runs/features/small")
    training: DraftTraining = DraftTraining()
    max_excess: float = MAX_EXCESS
    output: Path = Path("runs/draft/small")

    def __post_init__(self) -> None:
        require_types(self)
        require(self.max_excess >= 0, "max_excess", "0 or more", self.max_excess)


def teach(
    config: DraftRun, parts: PolicyParts, store: FeatureStore, mesh: Mesh
) -> tuple[PolicyParts, dict[str, Any]]:
    """Trains or resumes in the run's folder; returns the policy and figures before and after."""
    training, tokenizer, estimate = config.training, parts.tokenizer, parts.config.point_estimate
    train, held_out = (
        HeadsData.of(store, split, parts.space, tokenizer, parts.config)
        for split in ("train", "held_out")
    )
    predict = evaluation.make_predict(parts.config, parts.shape, parts.statistics, tokenizer)

    def figures(params: network.Params) -> dict[str, float]:
        everything = evaluation.predict_all(predict, params, held_out)
        exits = evaluation.calibrate(everything, held_out, estimate, config.max_excess)
        measured = evaluation.measure(everything, held_out, train, parts.space)
        return {
            BEST_METRIC: measured["actions"][f"draft_{estimate}"]["l1"],
            "main_error": measured["actions"][estimate]["l1"],
            "agreement": sum(measured["agreement"]["per_layer"]) / parts.shape.codes.coarse,
            **(exits or {}),
        }

    feed = train.feed(training)
    with recorded(config.output, BEST_METRIC) as (checkpoints, writer):
        params = distill(
            training, parts, feed, figures, mesh=mesh, checkpoints=checkpoints, writer=writer
        )
    before, after = figures(parts.params), figures(params)
    taught = dataclasses.replace(parts, params=params, threshold=after["threshold"])
    return taught, {"before": before, "after": after}


def show(config: DraftRun, figures: dict[str, Any]) -> None:
    """Prints the table; writes results.json."""
    rows = [
        [name, *(f"{figures[when][name]:.4f}" for when in ("before", "after"))]
        for name in figures["after"]
    ]
    print(format_table(["held-out, normalised actions", "before", "after"], rows))
    print(f"figures: {write_results(config.output, figures=figures, config=config)}")
    print(f"policy: {config.output / 'policy'}")


@command(COMMAND)
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command."""
    config, machines = parse_training(DraftRun, argv, command=COMMAND, description=__doc__)
    with machines.joined(COMMAND) as mesh, opened(COMMAND, hold_folder(config.output)):
        with user_errors(COMMAND):
            policy = config.load_with_draft()
            store = FeatureStore.open(config.features)
            store.require(policy.backbone.spec, policy.parts.space)
            claim_folder(config.output, dataclasses.asdict(config))
        taught, figures = teach(config, policy.parts, store, mesh)
        save_policy(config.output / "policy", taught)
        show(config, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
