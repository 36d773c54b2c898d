"""From finished episodes to figures and tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from rfsq_jax.evaluation.log import Record
from rfsq_jax.libero.tasks import Task
from rfsq_jax.runs.intervals import wilson
from rfsq_jax.runs.terminal import format_table

PARTS = ("render", "physics", "policy", "reset", "video")


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
    low, high = wilson(len(solved), len(records))
    return {
        "successes": len(solved),
        "trials": len(records),
        "rate": len(solved) / len(records),
        "interval": [low, high],
        "steps": float(np.mean([each.steps for each in records])),
        "steps_to_success": float(np.mean([e.steps for e in solved])) if solved else None,
        "seconds": float(np.mean([each.seconds["total"] for each in records])),
    }


def time_figures(records: Sequence[Record]) -> dict[str, Any]:
    """Where the workers' time went, in seconds per chunk, and what a worker takes in memory."""
    chunks = sum(each.chunks for each in records)
    spent = {part: sum(each.seconds.get(part, 0.0) for each in records) for part in PARTS}
    return {
        "chunks": chunks,
        "steps": sum(each.steps for each in records),
        "seconds_per_chunk": {part: value / chunks for part, value in spent.items()},
        "seconds_per_scene": [e.seconds["build"] for e in records if e.seconds["build"] > 0.1],
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
