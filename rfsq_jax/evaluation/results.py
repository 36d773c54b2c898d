"""What episodes say: rates, times, the policy's own figures, or what went wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rfsq_jax.evaluation.analysis.profile import draft_figures, time_policy
from rfsq_jax.evaluation.analysis.summary import episode_rows, suite_figures, time_figures
from rfsq_jax.evaluation.log import Record
from rfsq_jax.evaluation.play.batched_policy import Server
from rfsq_jax.evaluation.play.run import EpisodeError
from rfsq_jax.libero.tasks import Task
from rfsq_jax.policies import Observations, Policy
from rfsq_jax.runs.files import read_json, write_json

PROFILE, ERRORS = "profile.json", "errors.json"


def measure(
    output: Path, policy: Policy, server: Server, records: Sequence[Record], tasks: Sequence[Task]
) -> dict[str, Any]:
    """What the episodes of a run say.

    Args:
      output: the run's folder, which keeps how long the policy takes.
      policy: what played.
      server: with a sample of what it was asked.
      records: the episodes.
      tasks: what was played.
    """
    profile = profile_of(output / PROFILE, policy, server)
    return {
        "suites": suite_figures(records, tasks),
        "errors": [],
        "time": time_figures(records) | {"policy": profile["seconds"]},
        "draft": profile["draft"],
        "episodes": episode_rows(records),
    }


def profile_of(path: Path, policy: Policy, server: Server) -> dict[str, Any]:
    """Measures the policy on observations of this run; a finished run keeps its measurement."""
    if path.exists() and not server.sample:
        return read_json(path)
    sample = server.sample or [noise(policy)]
    drafted = draft_figures(policy, sample) if server.sample else None
    profile = {"seconds": time_policy(policy, sample, server.batch), "draft": drafted}
    write_json(path, profile)
    return profile


def noise(policy: Policy) -> Observations:
    """Observations without meaning."""
    spec = policy.backbone.spec
    shape = (1, spec.cameras, spec.image_size, spec.image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Observations(images, ["pick up the bowl"], np.zeros((1, 8), np.float32))


def write_errors(output: Path, errors: Sequence[EpisodeError]) -> list[dict[str, Any]]:
    """Writes errors.json in the run's folder, and returns what it holds."""
    rows = [dataclasses.asdict(error) for error in errors]
    write_json(output / ERRORS, rows)
    return rows


def errors_text(output: Path, errors: Sequence[EpisodeError]) -> str:
    """Says what went wrong instead of a rate."""
    lines = [f"no rate, {len(errors)} episodes ended in errors:"]
    for error in errors:
        trial, last = error.trial, error.reasons[-1].strip().splitlines()[-1]
        lines.append(f"  {trial.suite} task {trial.task} trial {trial.number}: {last}")
    return "\n".join([*lines, f"details: {output / ERRORS}; the same command tries again"])
