"""Plays experts to make demonstrations, and demonstrations to check them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Float64

from rfsq_jax.libero.demonstration import Demonstration, Trace
from rfsq_jax.libero.environment import Environment, Observation
from rfsq_jax.libero.lattice import snap
from rfsq_jax.libero.start import Start

HOLD_STEPS = 10
"""Steps that success must last; LIBERO's own collection tool ends a recording after as many."""


@runtime_checkable
class Expert(Protocol):
    """Anything that acts on observations and may be disturbed."""

    def act(self, observation: Observation) -> Float[np.ndarray, " 7"]:
        """Returns the next action: [7], in -1..1, not yet on the lattice."""
        ...

    def disturbance(self, step: int) -> Float[np.ndarray, " 7"]:
        """Returns what is added to the executed action, but not to its label, at `step`: [7]."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """What is kept of one step; the observation is from before the action."""

    observation: Observation
    simulator_state: Float64[np.ndarray, " s"]
    images: dict[str, np.ndarray]
    label: Float32[np.ndarray, " 7"]
    executed: Float32[np.ndarray, " 7"]


def record(
    env: Environment,
    start: Start,
    make_expert: Callable[[Environment], Expert],
    *,
    images: bool = False,
    hold_steps: int = HOLD_STEPS,
) -> Demonstration | None:
    """Plays an expert from `start` until success has lasted `hold_steps` steps.

    Args:
      env: the task.
      start: where to begin.
      make_expert: called once the scene has settled.
      images: whether to draw the environment's cameras at every step.
      hold_steps: how long success must last.

    Returns:
      the demonstration, or None if the task's step limit came first.
    """
    observation = env.reset(start)
    expert = make_expert(env)
    steps: list[Step] = []
    held = 0
    while held < hold_steps:
        if len(steps) == env.task.step_limit:
            return None
        step = _decide(env, observation, expert, len(steps), images)
        steps.append(step)
        observation = env.step(step.executed)
        held = held + 1 if env.success() else 0
    return _stack(env, start, steps)


def replay(env: Environment, demonstration: Demonstration) -> Float64[np.ndarray, " s"]:
    """Plays what was executed and returns the final simulator state: float64 [S].

    On the machine that recorded it, it equals `demonstration.final_state` bit for bit.

    Raises:
      ValueError: if the demonstration is of another task.
    """
    recorded = (demonstration.suite, demonstration.task_index)
    if recorded != (env.task.suite, env.task.index):
        raise ValueError(
            f"the demonstration must be of {env.task.suite} task {env.task.index}, got {recorded}"
        )
    env.reset(demonstration.start)
    for action in demonstration.executed:
        env.step(action)
    return env.simulator_state


def _decide(
    env: Environment,
    observation: Observation,
    expert: Expert,
    index: int,
    images: bool,
) -> Step:
    wanted = np.asarray(expert.act(observation), dtype=np.float64)
    label = snap(wanted)
    executed = snap(label + expert.disturbance(index))
    pictures = env.render() if images else {}
    return Step(observation, env.simulator_state, pictures, label, executed)


def _stack(env: Environment, start: Start, steps: list[Step]) -> Demonstration:
    return Demonstration(
        suite=env.task.suite,
        task_index=env.task.index,
        task_name=env.task.name,
        instruction=env.task.instruction,
        start=start,
        actions=np.stack([step.label for step in steps]),
        executed=np.stack([step.executed for step in steps]),
        state=np.stack([step.observation.state for step in steps]),
        final_state=env.simulator_state,
        trace=_stack_trace(steps),
    )


def _stack_trace(steps: list[Step]) -> Trace:
    observations = [step.observation for step in steps]
    robot_states = [
        np.concatenate([now.gripper_qpos, now.eef_pos, now.eef_quat]) for now in observations
    ]
    return Trace(
        robot_states=np.stack(robot_states),
        joint_states=np.stack([now.joint_pos for now in observations]),
        simulator_states=np.stack([step.simulator_state for step in steps]),
        images={name: np.stack([step.images[name] for step in steps]) for name in steps[0].images},
    )
