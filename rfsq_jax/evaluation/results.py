"""What eval.libero writes: who was evaluated, how, and what came out.

results.json has under "figures":
  policy, protocol, deviations, simulator, batch, rows_independent, warnings
  suites      by name: successes, trials, rate, interval, and the same under "tasks"; null if errors
  errors      trials that could not be played, with the reasons
  time        seconds per chunk by part: in workers, and in the policy; memory of a worker
  draft       accepted shares, on a sample of the run's observations; null without a draft
  episodes    as in episodes.jsonl, with the paths of videos and filmstrips
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rfsq_jax.evaluation.analysis.profile import draft_figures, time_policy
from rfsq_jax.evaluation.analysis.summary import episode_rows, suite_figures, time_figures
from rfsq_jax.evaluation.analysis.versions import known_changes
from rfsq_jax.evaluation.log import Record
from rfsq_jax.evaluation.play.batched_policy import Server, rows_are_independent
from rfsq_jax.evaluation.play.run import EpisodeError
from rfsq_jax.evaluation.protocol import EvaluationProtocol, deviations
from rfsq_jax.libero.tasks import Task
from rfsq_jax.policies import Observations, Policy
from rfsq_jax.runs.files import read_json, write_json
from rfsq_jax.runs.results import write_results

if TYPE_CHECKING:
    from eval.libero import LiberoConfig

PROFILE, ERRORS = "profile.json", "errors.json"


def identity(
    config: LiberoConfig,
    policy: Policy,
    protocol: EvaluationProtocol,
    batch: int,
    simulator: dict[str, Any],
) -> dict[str, Any]:
    """What decides how each episode ends; which episodes are played may change between runs."""
    return {
        "policy": policy.version,
        "mode": config.mode,
        "batch": batch,
        "protocol": dataclasses.asdict(protocol),
        "simulator": simulator,
    }


def describe_run(
    config: LiberoConfig,
    policy: Policy,
    protocol: EvaluationProtocol,
    server: Server,
    simulator: Any,
) -> dict[str, Any]:
    """What is known without any episode."""
    independent = rows_are_independent(policy, _noise(policy), server.batch)
    warnings = known_changes(simulator["versions"])
    if not independent:
        warnings.append(
            f"rows of a batch of {server.batch} change each other's last bits here: results may "
            "depend on the number of workers; --batch 1 avoids it"
        )
    return {
        "policy": {"name": config.policy, **policy.describe()},
        "protocol": dataclasses.asdict(protocol),
        "deviations": deviations(protocol, config.trials, bool(config.tasks)),
        "simulator": simulator,
        "batch": server.batch,
        "rows_independent": independent,
        "warnings": warnings,
    }


def measure(
    config: LiberoConfig,
    policy: Policy,
    server: Server,
    records: Sequence[Record],
    chosen: Sequence[Task],
) -> dict[str, Any]:
    """What the episodes say."""
    profile = profile_of(config.output / PROFILE, policy, server)
    return {
        "suites": suite_figures(records, chosen),
        "errors": [],
        "time": time_figures(records) | {"policy": profile["seconds"]},
        "draft": profile["draft"],
        "episodes": episode_rows(records),
    }


def profile_of(path: Path, policy: Policy, server: Server) -> dict[str, Any]:
    """Measures the policy on observations of this run; a finished run keeps its measurement."""
    if path.exists() and not server.sample:
        return read_json(path)
    sample = server.sample or [_noise(policy)]
    drafted = draft_figures(policy, sample) if server.sample else None
    profile = {"seconds": time_policy(policy, sample, server.batch), "draft": drafted}
    write_json(path, profile)
    return profile


def refuse(config: LiberoConfig, figures: dict[str, Any], errors: Sequence[EpisodeError]) -> int:
    """Says what went wrong instead of a rate."""
    rows = [dataclasses.asdict(error) for error in errors]
    write_results(config.output, figures=figures | {"suites": None, "errors": rows}, config=config)
    path = config.output / ERRORS
    write_json(path, rows)
    print(f"eval.libero: no rate, {len(errors)} episodes ended in errors:", file=sys.stderr)
    for error in errors:
        last = error.reasons[-1].strip().splitlines()[-1]
        trial = error.trial
        where = f"{trial.suite} task {trial.task} trial {trial.number}"
        print(f"  {where}: {last}", file=sys.stderr)
    print(f"details: {path}; the same command tries again", file=sys.stderr)
    return 1


def _noise(policy: Policy) -> Observations:
    """Observations without meaning."""
    spec = policy.backbone.spec
    shape = (1, spec.cameras, spec.image_size, spec.image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Observations(images, ["pick up the bowl"], np.zeros((1, 8), np.float32))
