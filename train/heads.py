"""Trains a policy's heads on frozen features and shows what they learned.

python -m train.heads --config configs/small.py
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from jax.sharding import Mesh

from rfsq_jax.backbones import make_backbone
from rfsq_jax.backbones.protocol import BackboneSpec
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.features.store import FeatureStore
from rfsq_jax.heads import proprio
from rfsq_jax.heads.config import CodeShape
from rfsq_jax.heads.network import HeadsShape
from rfsq_jax.policies.files import save_policy
from rfsq_jax.policies.parts import PolicyParts
from rfsq_jax.runs.claims import claim_folder, hold_folder
from rfsq_jax.runs.commands import command, opened, user_errors
from rfsq_jax.runs.options import parse_training
from rfsq_jax.runs.results import write_results
from rfsq_jax.tokenizers import ActionTokenizer
from rfsq_jax.training.heads import evaluation, report
from rfsq_jax.training.heads import training as trainer
from rfsq_jax.training.heads.data import HeadsData
from rfsq_jax.training.heads.training import PolicyRun
from rfsq_jax.training.loop import recorded

COMMAND = "train.heads"
PICTURE = "heads.png"


def train_policy(
    config: PolicyRun,
    spec: BackboneSpec,
    store: FeatureStore,
    space: ActionSpace,
    tokenizer: ActionTokenizer | None,
    mesh: Mesh,
) -> tuple[PolicyParts, dict[str, Any]]:
    """Trains or resumes in the run's folder; returns the policy and its held-out figures."""
    training = config.training
    codes = None if tokenizer is None else CodeShape.of(tokenizer)
    shape = HeadsShape.of(spec, space, codes)
    train, held_out = (
        HeadsData.of(store, split, space, tokenizer, training.model)
        for split in ("train", "held_out")
    )
    statistics = proprio.fit(store.state[train.rows])
    predict = evaluation.make_predict(training.model, shape, statistics, tokenizer)
    with recorded(config.output, trainer.BEST_METRIC) as (checkpoints, writer):
        params = trainer.train(
            training,
            shape,
            statistics,
            train.feed(training),
            evaluation.make_evaluate(predict, held_out, training.model.point_estimate, mesh),
            mesh=mesh,
            description=config.output.name,
            checkpoints=checkpoints,
            writer=writer,
        )
    everything = evaluation.predict_all(predict, params, held_out)
    figures = evaluation.measure(everything, held_out, train, space)
    exits = evaluation.calibrate(everything, held_out, training.model.point_estimate)
    figures["early_exit"] = exits
    parts = PolicyParts(
        backbone=spec.name,
        backbone_version=spec.version,
        backbone_options=config.features.options.kept(config.features.backbone_options),
        config=training.model,
        shape=shape,
        params=params,
        statistics=statistics,
        space=space,
        tokenizer=tokenizer,
        threshold=None if exits is None else exits["threshold"],
    )
    return parts, figures


def show(config: PolicyRun, figures: dict[str, Any]) -> None:
    """Prints the tables; writes results.json and the picture."""
    named = {config.output.name: figures}
    print(report.action_table(named))
    if config.training.model.kind == "tokens":
        print(report.accuracy_table(named))
        print(report.reference_note(figures))
        report.plot(config.output / PICTURE, config.output.name, figures)
        print(f"picture: {config.output / PICTURE}")
    print(f"figures: {write_results(config.output, figures=figures, config=config)}")
    print(f"policy: {config.output / 'policy'}")


def open_run(config: PolicyRun) -> tuple[BackboneSpec, FeatureStore, ActionTokenizer]:
    """Opens what is trained on, and claims the run's folder.

    Raises:
      FileNotFoundError: if there are no features, or there is no such tokenizer.
      ValueError: if a file is damaged, one does not fit another, or the folder holds another run.
    """
    features = config.features
    spec = make_backbone(features.backbone, features.options, features.checkpoint).spec
    store = FeatureStore.open(features.output)
    tokenizer = ActionTokenizer.from_pretrained(config.tokenizer)
    store.require(spec, tokenizer.space)
    versions = {"tokenizer_version": tokenizer.version, "backbone_version": spec.version}
    claim_folder(config.output, {**config.identity(), **versions})
    return spec, store, tokenizer


@command(COMMAND)
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command."""
    config, machines = parse_training(PolicyRun, argv, command=COMMAND, description=__doc__)
    predicts_tokens = config.training.model.kind == "tokens"
    with machines.joined(COMMAND) as mesh, opened(COMMAND, hold_folder(config.output)):
        with user_errors(COMMAND):
            spec, store, tokenizer = open_run(config)
        parts, figures = train_policy(
            config, spec, store, tokenizer.space, tokenizer if predicts_tokens else None, mesh
        )
        save_policy(config.output / "policy", parts)
        show(config, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
