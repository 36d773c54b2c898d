"""What went wrong in an episode, read from the simulator while its actions are played again.

For tasks that put one thing on or into another. World frame, metres.

Axes: N steps · P surface points.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from rfsq_jax.libero.environment import Environment
from rfsq_jax.libero.scene import Scene

LIFTED = 0.02
"""A thing this much above where it settled has been lifted."""


class FailureMode(enum.Enum):
    """How an episode ended, from the worst to the best."""

    NEVER_CLOSED = "never closed the hand"
    WRONG_THING = "took another thing"
    MISSED = "closed beside the thing"
    NOT_LIFTED = "took it, never lifted it"
    HELD = "still held it at the end"
    DROPPED = "let it go beside its target"
    SOLVED = "solved"


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What happened in an episode.

    Attributes:
      mode: how it ended.
      closings: how often the hand closed.
      miss: metres between the grip site and the thing's surface when the hand first closed; None
        if it never did.
      displaced: metres by which the thing lay off at the end from where it would have counted,
        horizontally; 0 for solved ones.
    """

    mode: FailureMode
    closings: int
    miss: float | None
    displaced: float


def diagnose(env: Environment, actions: Float[np.ndarray, "n 7"]) -> Diagnosis:
    """Plays the actions from where `env` is now, and says how that ended.

    Raises:
      ValueError: if the task's goal is not one thing on or in another.
    """
    thing, target = goal_of(env)
    scene = Scene(env.sim)
    settled = float(scene.position(thing)[2])
    others = [name for name in env.domain.objects_dict if name != thing]
    closings, miss, lifted, grasped, wrong = 0, None, False, False, False
    was_closed = False
    for action in actions:
        closed = bool(action[6] > 0)
        if closed and not was_closed:
            closings += 1
            hand = env.observe().eef_pos
            if miss is None:
                miss = float(np.linalg.norm(scene.points(thing) - hand, axis=1).min())
        was_closed = closed
        env.step(action)
        if closed:
            grasped = grasped or env.holds(thing)
            wrong = wrong or any(env.holds(other) for other in others)
            lifted = lifted or (
                env.holds(thing) and float(scene.position(thing)[2]) > settled + LIFTED
            )
    mode = _mode(env, thing, closings, grasped=grasped, wrong=wrong, lifted=lifted)
    return Diagnosis(mode, closings, miss, _displaced(env, scene, thing, target))


def goal_of(env: Environment) -> tuple[str, str]:
    """The thing to move and where it should go.

    Raises:
      ValueError: for any other goal.
    """
    if len(env.goals) != 1 or env.goals[0][0].lower() not in ("on", "in"):
        goals = "; ".join(" ".join(goal) for goal in env.goals)
        raise ValueError(f"the goal must be one thing on or in another, got {goals}")
    _, thing, target = env.goals[0]
    return thing, target


def count_modes(diagnoses: Iterable[Diagnosis]) -> dict[str, int]:
    """How many episodes ended how, in the order of `FailureMode`."""
    modes = [diagnosis.mode for diagnosis in diagnoses]
    return {mode.value: modes.count(mode) for mode in FailureMode if mode in modes}


def _mode(
    env: Environment, thing: str, closings: int, *, grasped: bool, wrong: bool, lifted: bool
) -> FailureMode:
    if env.success():
        return FailureMode.SOLVED
    if lifted:
        return FailureMode.HELD if env.holds(thing) else FailureMode.DROPPED
    if grasped:
        return FailureMode.NOT_LIFTED
    if wrong:
        return FailureMode.WRONG_THING
    return FailureMode.MISSED if closings else FailureMode.NEVER_CLOSED


def _displaced(env: Environment, scene: Scene, thing: str, target: str) -> float:
    if env.success():
        return 0.0
    is_thing = scene.is_thing(target)
    middle = scene.position(target) if is_thing else scene.region(target).center
    return float(np.linalg.norm((scene.position(thing) - middle)[:2]))
