"""Plays experts to make demonstrations, and demonstrations to check them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Float64

from rfsq_jax.libero.demonstrations.demonstration import Demonstration, Trace
from rfsq_jax.libero.environment import Environment, RobotState
from rfsq_jax.libero.lattice import snap
from rfsq_jax.libero.tasks import Start

Act = Callable[[Environment], Float[np.ndarray, "t 7"]]
"""A policy in its environment: gives its next actions, [T, 7]."""

HOLD_STEPS = 10
"""Steps that success must last; LIBERO's own collection tool ends a recording after as many."""


@runtime_checkable
class Expert(Protocol):
    """Anything that sees the robot's state and may be disturbed."""

    def act(self, robot: RobotState) -> Float[np.ndarray, " 7"]:
        """Returns the next action: [7], in -1..1, not yet on the lattice."""
        ...

    def disturbance(self, step: int) -> Float[np.ndarray, " 7"]:
        """Returns what is added to the executed action, but not to its label, at `step`: [7]."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """What is kept of one step; all but the actions is from before them."""

    robot: RobotState
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
    rollout_policy: Act | None = None,
    rollout_steps: int = 0,
) -> Demonstration | None:
    """Plays an expert from `start` until success has lasted `hold_steps` steps.

    Args:
      env: the task.
      start: where to begin.
      make_expert: called once the scene has settled, or when the policy hands over.
      images: whether to render the environment's cameras at every step.
      hold_steps: how long success must last.
      rollout_policy: what acts first, so that the expert starts where policies go wrong.
      rollout_steps: after which the expert takes over, as soon as the hand holds nothing.

    Returns:
      the demonstration; None if the task's step limit came first, which the expert has to itself,
      or if the policy never handed over.
    """
    env.reset(start)
    steps = [] if rollout_policy is None else _roll_out(env, rollout_policy, rollout_steps, images)
    if steps is None:
        return None
    handover = len(steps)
    robot = env.observe()
    expert = make_expert(env)
    held = 0
    while held < hold_steps:
        if len(steps) - handover == env.task.step_limit:
            return None
        label = snap(np.asarray(expert.act(robot), dtype=np.float64))
        executed = snap(label + expert.disturbance(len(steps) - handover))
        rendered = env.render() if images else {}
        steps.append(Step(robot, env.simulator_state, rendered, label, executed))
        robot = env.step(executed)
        held = held + 1 if env.success() else 0
    return _stack(env, start, steps, handover)


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


def _roll_out(env: Environment, policy: Act, num_steps: int, images: bool) -> list[Step] | None:
    """The policy's steps until it hands over; None if it succeeds, or holds to the step limit."""
    steps: list[Step] = []
    chunk: Iterator[np.ndarray] = iter(())
    while len(steps) < num_steps or env.holds_something():
        if env.success() or len(steps) >= env.task.step_limit:
            return None
        action = next(chunk, None)
        if action is None:
            chunk = iter(policy(env))
            action = next(chunk)
        played = np.asarray(action, np.float32)
        rendered = env.render() if images else {}
        steps.append(Step(env.observe(), env.simulator_state, rendered, played, played))
        env.step(played)
    return steps


def _stack(env: Environment, start: Start, steps: list[Step], handover: int) -> Demonstration:
    return Demonstration(
        suite=env.task.suite,
        task_index=env.task.index,
        task_name=env.task.name,
        instruction=env.task.instruction,
        start=start,
        actions=np.stack([step.label for step in steps]),
        executed=np.stack([step.executed for step in steps]),
        state=np.stack([step.robot.state for step in steps]),
        final_state=env.simulator_state,
        handover=handover,
        trace=_stack_trace(steps),
    )


def _stack_trace(steps: list[Step]) -> Trace:
    robots = [step.robot for step in steps]
    robot_states = [np.concatenate([now.gripper_qpos, now.eef_pos, now.eef_quat]) for now in robots]
    return Trace(
        robot_states=np.stack(robot_states),
        joint_states=np.stack([now.joint_pos for now in robots]),
        simulator_states=np.stack([step.simulator_state for step in steps]),
        images={name: np.stack([step.images[name] for step in steps]) for name in steps[0].images},
    )
