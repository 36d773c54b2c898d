"""What a set of demonstrations amounts to, as figures and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rfsq_jax.data.statistics import (
    action_statistics,
    comparison_table,
    length_figures,
    published_statistics,
    wilson_interval,
)
from rfsq_jax.libero.demonstrations.demonstration import Demonstration, count_no_ops
from rfsq_jax.libero.tasks import Task


def summarise(
    demonstrations: Mapping[Task, Sequence[Demonstration]], attempts: Mapping[Task, int]
) -> dict[str, Any]:
    """Returns successes per task, lengths, no-ops, disturbed steps and action statistics.

    Args:
      demonstrations: the successful episodes of each task.
      attempts: how many were tried for each.
    """
    everything = [each for group in demonstrations.values() for each in group]
    disturbed = [(each.actions != each.executed).any(axis=1).sum() for each in everything]
    return {
        "suite": everything[0].suite,
        "tasks": [_task_figures(task, demonstrations[task], attempts[task]) for task in attempts],
        "success": _success(len(everything), sum(attempts.values())),
        "num_steps": sum(len(each) for each in everything),
        "length": length_figures([len(each) for each in everything]),
        "no_ops": sum(count_no_ops(each.actions) for each in everything),
        "disturbed_steps": int(sum(disturbed)),
        "rollout_steps": sum(each.handover for each in everything),
        "actions": action_statistics(np.concatenate([each.actions for each in everything])),
    }


def describe(figures: dict[str, Any]) -> str:
    """Formats the figures for people, beside the published ones where there are some."""
    published = published_statistics(figures["suite"])
    lines = [
        " kept/tried  steps  task",
        *(_task_line(task) for task in figures["tasks"]),
        _success_line(figures),
        f"{figures['num_steps']} steps, mean length {figures['length']['mean']:.1f}; "
        f"{figures['no_ops']} no-ops, {figures['disturbed_steps']} disturbed",
    ]
    if published is not None:
        mean = published["num_steps"] / published["num_episodes"]
        lines.append(f"published: {published['num_steps']} steps, mean length {mean:.1f}")
    lines.append("actions, ours / published (gripper 0 closed, 1 open)")
    lines.append(comparison_table(figures["actions"], published))
    return "\n".join(lines)


def _success_line(figures: dict[str, Any]) -> str:
    success, rollout = figures["success"], figures["rollout_steps"]
    if rollout:
        return (
            f"kept {success['rate']:.1%} of the attempts: the others were solved before the expert "
            f"took over, or not at all; {rollout} steps before it did"
        )
    low, high = success["interval_95"]
    return f"expert success {success['rate']:.1%} (95 % interval {low:.1%} to {high:.1%})"


def _task_line(task: dict[str, Any]) -> str:
    counts = f"{task['kept']}/{task['attempts']}"
    return f"{counts:>11} {task['length']['mean']:6.1f}  {task['index']} {task['instruction']}"


def _task_figures(task: Task, group: Sequence[Demonstration], attempts: int) -> dict[str, Any]:
    return {
        "index": task.index,
        "instruction": task.instruction,
        **_success(len(group), attempts),
        "length": length_figures([len(each) for each in group]),
    }


def _success(successes: int, attempts: int) -> dict[str, Any]:
    interval = wilson_interval(successes, attempts)
    return {
        "kept": successes,
        "attempts": attempts,
        "rate": successes / attempts,
        "interval_95": list(interval),
    }
