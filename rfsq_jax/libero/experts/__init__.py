"""Scripted experts: they read the goal and the simulator, and act like a demonstrator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.environment import Environment, RobotState
from rfsq_jax.libero.experts.choice import Skill, make_skill, ordered_goals
from rfsq_jax.libero.experts.style import Burst, Style, StyleName, human_style, make_style
from rfsq_jax.libero.scene import Scene

__all__ = [
    "Burst",
    "ScriptedExpert",
    "Style",
    "StyleName",
    "human_style",
    "make_expert",
    "make_style",
]


class ScriptedExpert:
    """Works off the goals of a task one after the other."""

    def __init__(self, skills: Sequence[Skill], style: Style) -> None:
        self.style = style
        self._skills = skills

    @property
    def skill(self) -> Skill:
        """The skill at work: the first that is not done, else the last."""
        return next((skill for skill in self._skills if not skill.done), self._skills[-1])

    def act(self, robot: RobotState) -> Float64[np.ndarray, " 7"]:
        """Returns the expert's action for what is observed now: float64 [7], the label."""
        return self.skill.act(robot)

    def disturbance(self, step: int) -> Float64[np.ndarray, " 7"]:
        """Returns what to add to the executed action at `step` but not to its label: float64 [7].

        Call it after `act`: while the hand does something delicate there is none.
        """
        return np.zeros(7) if self.skill.is_delicate else self.style.disturbance(step)


def make_expert(
    env: Environment, rng: np.random.Generator, style: Style | str = "steady"
) -> ScriptedExpert:
    """Returns an expert for the episode that `env` was just reset to.

    Args:
      env: the task; the expert reads its goals and its simulator.
      rng: source of the style's randomness and of choices within the episode.
      style: a style, or the name of one to sample.

    Raises:
      ValueError: for a style or a goal that there is no skill for.
    """
    style = make_style(style, rng) if isinstance(style, str) else style
    scene = Scene(env.sim)
    goals = ordered_goals(env.goals, lambda region: _is_shut(env, scene, region))
    todo = [goal for goal in goals if goal[0] != "turnon" or not env.meets(goal)]
    skills = [make_skill(env, scene, goal, todo, style, rng) for goal in todo or goals]
    return ScriptedExpert(skills, style)


def _is_shut(env: Environment, scene: Scene, region: str) -> bool:
    joint = None if scene.is_thing(region) else scene.joint(region)
    return joint is not None and not env.meets(("open", region))
