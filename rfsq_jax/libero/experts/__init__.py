"""Scripted experts: they read the goal and the simulator, and act like a demonstrator."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.environment import Environment, Observation
from rfsq_jax.libero.experts.pick_place import PickPlace
from rfsq_jax.libero.experts.style import STYLES, Burst, Style, human_style, make_style
from rfsq_jax.libero.scene import Scene

__all__ = ["STYLES", "Burst", "Expert", "Style", "human_style", "make_expert", "make_style"]


class Expert:
    """Works off the goals of a task one after the other."""

    def __init__(self, skills: list[PickPlace], style: Style) -> None:
        self.style = style
        self._skills = skills

    @property
    def skill(self) -> PickPlace:
        """The skill at work: the first that is not done, else the last."""
        return next((skill for skill in self._skills if not skill.done), self._skills[-1])

    def act(self, observation: Observation) -> Float64[np.ndarray, " 7"]:
        """Returns the expert's action for what is observed now: float64 [7], the label."""
        return self.skill.act(observation)

    def disturbance(self, step: int) -> Float64[np.ndarray, " 7"]:
        """Returns what to add to the executed action at `step` but not to its label: float64 [7].

        Call it after `act`: while the hand does something delicate there is none.
        """
        return np.zeros(7) if self.skill.is_delicate else self.style.disturbance(step)


def make_expert(
    env: Environment, rng: np.random.Generator, style: Style | str = "steady"
) -> Expert:
    """Returns an expert for the episode that `env` was just reset to.

    Args:
      env: the task; the expert reads its goals and its simulator.
      rng: source of the style's randomness and of choices within the episode.
      style: a style, or the name of one to draw.

    Raises:
      ValueError: for a style or a goal that there is no skill for.
    """
    drawn = make_style(style, rng) if isinstance(style, str) else style
    scene = Scene(env.sim)
    return Expert([_skill(scene, goal, drawn, rng) for goal in env.goals], drawn)


def _skill(
    scene: Scene, goal: tuple[str, ...], style: Style, rng: np.random.Generator
) -> PickPlace:
    predicate, *names = goal
    if predicate.lower() not in ("on", "in"):
        raise ValueError(f"goal must be on or in; there is no skill for {' '.join(goal)}")
    thing, target = names
    return PickPlace(scene, thing, target, style, rng)
