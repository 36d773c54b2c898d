"""What a policy's heads say about the held-out frames of any features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rfsq_jax.features.store import FeatureStore
from rfsq_jax.policies.files import PolicyParts
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.files import read_json
from rfsq_jax.training.heads import evaluation
from rfsq_jax.training.heads.data import HeadsData

SPLIT = ("suites", "images", "held_out", "seed", "horizon", "backbone_version")


def measure_policy(parts: PolicyParts, trained_on: Path, measured_on: Path) -> dict[str, Any]:
    """The figures of train.heads, and which `point_estimate` the policy acts by.

    Args:
      parts: the policy.
      trained_on: features of its training, which give the majority levels.
      measured_on: features whose held-out frames are predicted; the same, or other frames.

    Raises:
      ValueError: if the two do not hold out the same episodes.
    """
    check_split(trained_on, measured_on)
    train, held_out = (
        HeadsData.of(FeatureStore.open(folder), split, parts.space, parts.tokenizer, parts.config)
        for folder, split in ((trained_on, "train"), (measured_on, "held_out"))
    )
    predict = evaluation.make_predict(parts.config, parts.shape, parts.statistics, parts.tokenizer)
    everything = evaluation.predict_all(predict, parts.params, held_out)
    figures = evaluation.measure(everything, held_out, train, parts.space)
    return {**figures, "point_estimate": parts.config.point_estimate}


def check_split(trained_on: Path, measured_on: Path) -> None:
    """Raises ValueError unless episodes held out of one are held out of the other."""
    if trained_on.resolve() == measured_on.resolve():
        return
    options = [read_json(folder / "config.json") for folder in (trained_on, measured_on)]
    for name in SPLIT:
        trained, measured = (each.get(name) for each in options)
        require(trained == measured, name, f"{trained} as in {trained_on}", measured)
