"""What episodes say: rates, times, the policy's own figures, or what went wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rfsq_jax.backbones.protocol import Backbone
from rfsq_jax.evaluation.analysis.profile import draft_figures, time_policy
from rfsq_jax.evaluation.log import Record
from rfsq_jax.evaluation.play.batched_policy import Server
from rfsq_jax.evaluation.play.run import EpisodeError
from rfsq_jax.libero.tasks import Task
from rfsq_jax.policies import Observations, Policy
from rfsq_jax.runs.descriptions import read_sealed, write_sealed
from rfsq_jax.runs.intervals import wilson
from rfsq_jax.runs.json_files import write_json
from rfsq_jax.runs.terminal import format_table

PROFILE, ERRORS = "profile.json", "errors.json"
PARTS = ("render", "physics", "policy", "reset", "video")


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
    """Measures the policy on observations of this run; a finished run keeps its measurement.

    Raises:
      ValueError: if what it kept is damaged.
    """
    if path.exists() and not server.sample:
        return read_sealed(path)
    sample = server.sample or [noise(policy.backbone)]
    drafted = draft_figures(policy, sample) if server.sample else None
    profile = {"seconds": time_policy(policy, sample, server.batch), "draft": drafted}
    write_sealed(path, profile)
    return profile


def noise(backbone: Backbone) -> Observations:
    """Observations of one environment without meaning: no program's speed depends on the values."""
    spec = backbone.spec
    shape = (1, spec.cameras, spec.image_size, spec.image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Observations(images, ["pick up the bowl"], np.zeros((1, 8), np.float32))


def suite_figures(records: Sequence[Record], tasks: Sequence[Task]) -> dict[str, Any]:
    """Success per task and suite, with 95 % Wilson intervals.

    Args:
      records: finished episodes, of these tasks only.
      tasks: what was played, suite by suite.

    Returns:
      by suite: successes, trials, rate, interval, and the same for each task under "tasks".

    Raises:
      ValueError: if a task has no episode.
    """
    figures: dict[str, Any] = {}
    for task in tasks:
        mine = [each for each in records if (each.suite, each.task) == (task.suite, task.index)]
        suite = figures.setdefault(task.suite, {"step_limit": task.step_limit, "tasks": []})
        suite["tasks"].append(
            {"index": task.index, "name": task.name, "instruction": task.instruction, **rate(mine)}
        )
    for name, suite in figures.items():
        suite.update(rate([each for each in records if each.suite == name]))
    return figures


def rate(records: Sequence[Record]) -> dict[str, Any]:
    """Successes, trials, rate, interval and mean lengths of some episodes.

    Raises:
      ValueError: if there are none.
    """
    solved = [each for each in records if each.success]
    return {
        **success_rate([each.success for each in records]),
        "steps": float(np.mean([each.steps for each in records])),
        "steps_to_success": float(np.mean([e.steps for e in solved])) if solved else None,
        "seconds": float(np.mean([each.seconds["total"] for each in records])),
    }


def success_rate(successes: Sequence[bool]) -> dict[str, Any]:
    """Successes, trials, rate and its 95 % Wilson interval.

    Raises:
      ValueError: if there are none.
    """
    solved, trials = sum(successes), len(successes)
    interval = list(wilson(solved, trials))
    return {"successes": solved, "trials": trials, "rate": solved / trials, "interval": interval}


def time_figures(records: Sequence[Record]) -> dict[str, Any]:
    """Where the workers' time went, in seconds per chunk, and what a worker takes in memory."""
    chunks = sum(each.chunks for each in records)
    building = [each.seconds.get("build", 0.0) for each in records]
    spent = {part: sum(each.seconds.get(part, 0.0) for each in records) for part in PARTS}
    return {
        "chunks": chunks,
        "steps": sum(each.steps for each in records),
        "seconds_per_chunk": {part: value / chunks for part, value in spent.items()},
        "seconds_per_scene": [built for built in building if built > 0.1],
        "worker_mib": max(each.worker_mib for each in records),
    }


def episode_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """All episodes in the order of suites, tasks and trials."""
    return [dataclasses.asdict(each) for each in sorted(records, key=lambda each: each.key)]


def success_table(figures: dict[str, Any]) -> str:
    """One line per task, one per suite."""
    rows = []
    for name, suite in figures.items():
        rows += [_task_row(task) for task in suite["tasks"]]
        rows.append([name, *_cells(suite)])
    if len(figures) > 1:
        mean = float(np.mean([suite["rate"] for suite in figures.values()]))
        rows.append([f"mean of {len(figures)} suites", "", f"{mean:.1%}", "", "", ""])
    return format_table(["task", "solved", "success", "95 % interval", "steps", "s"], rows)


def _task_row(task: dict[str, Any]) -> list[str]:
    return [f"{task['index']:2d}  {task['instruction'][:70]}", *_cells(task)]


def _cells(figures: dict[str, Any]) -> list[str]:
    low, high = figures["interval"]
    return [
        f"{figures['successes']}/{figures['trials']}",
        f"{figures['rate']:.1%}",
        f"{low:.1%} to {high:.1%}",
        f"{figures['steps']:.0f}",
        f"{figures['seconds']:.1f}",
    ]


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
