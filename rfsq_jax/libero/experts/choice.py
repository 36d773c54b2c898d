"""In which order goals are worked off, and which skill suits each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rfsq_jax.libero.environment import Environment
from rfsq_jax.libero.experts.articulation import Articulate
from rfsq_jax.libero.experts.covered_place import HandlePicking, Insert, Insertion, is_covered
from rfsq_jax.libero.experts.leaning import LayDown, Slope, is_slope
from rfsq_jax.libero.experts.phases import Phase
from rfsq_jax.libero.experts.pick_place import PickPlace
from rfsq_jax.libero.experts.picking import Picking
from rfsq_jax.libero.experts.placing import Compartment, Placing, Sharing, fitting_turn
from rfsq_jax.libero.experts.style import Style
from rfsq_jax.libero.scene import Scene

Goal = tuple[str, ...]
Skill = Articulate | PickPlace
"""Works off one goal."""

ORDER = {"turnon": 0, "turnoff": 0, "open": 1, "on": 2, "in": 2, "close": 3}
# How far the hand rises so that the fingers do not scrape over the table, metres.
LIFTED = 0.003


class Push(PickPlace[Placing]):
    """Slides a flat thing over the table, held by its rim; the goal says whether it is there.

    Pushed from behind it would swerve at the first thing it meets, and pulled from inside its rim
    it would tip over it.
    """

    def _advance(self, hand: np.ndarray) -> None:
        super()._advance(hand)
        if self.phase is Phase.LIFT:
            self._travel_height = float(hand[2]) + LIFTED

    def _slip(self, hand: np.ndarray) -> float:
        """How far the thing has moved away from the hand; turning about it does no harm."""
        return self._picking.drift(hand)


def ordered_goals(goals: Sequence[Goal], is_shut: Callable[[str], bool]) -> list[Goal]:
    """Returns the goals in the order of work, with the drawers that must be opened for them.

    What is turned on comes first, while its surroundings are free; then things are put where they
    belong, into drawers that are opened for it if they are shut; what is closed comes last.

    Args:
      goals: predicates, such as ("in", "akita_black_bowl_1", "wooden_cabinet_1_top_region").
      is_shut: whether a region is one of a drawer that is not open.

    Raises:
      ValueError: for a predicate that there is no skill for.
    """
    for goal in goals:
        if goal[0].lower() not in ORDER:
            raise ValueError(
                f"goal must be one of {', '.join(ORDER)}; there is no skill for {' '.join(goal)}"
            )
    lowered = [(goal[0].lower(), *goal[1:]) for goal in goals]
    steps: list[Goal] = []
    for goal in sorted(lowered, key=lambda goal: ORDER[goal[0]]):
        if goal[0] == "in" and ("open", goal[2]) not in steps and is_shut(goal[2]):
            steps.append(("open", goal[2]))
        steps.append(goal)
    return steps


def make_skill(
    env: Environment,
    scene: Scene,
    goal: Goal,
    goals: Sequence[Goal],
    style: Style,
    rng: np.random.Generator,
) -> Skill:
    """Returns the skill for a goal.

    Args:
      env: the task; it says whether the goal holds.
      scene: where.
      goal: such as ("on", "moka_pot_1", "flat_stove_1_cook_region").
      goals: all goals that are worked off, this one among them.
      style: how the hand moves.
      rng: of choices within the episode.
    """
    predicate, thing, *others = goal
    if predicate not in ("on", "in"):
        far = predicate in ("open", "turnon")
        return Articulate(scene, thing, style, far=far, holds=lambda: env.meets(goal))
    (target,) = others
    # The goals say where a thing ends, only the instruction says how it gets there.
    slides = env.task.instruction.lower().startswith("push")
    leans = not scene.is_thing(target) and is_slope(scene.region(target))
    by_geometry = len(goals) == 1 and not slides and not leans
    holds = None if by_geometry else lambda: env.meets(goal)
    if predicate == "in" and _is_covered(scene, target):
        placing = Insertion(scene, thing, target, style)
        return Insert(HandlePicking(scene, thing, style, rng), placing, style, holds)
    picking = Picking(scene, thing, style, rng)
    if leans:
        return LayDown(picking, Slope(scene, thing, target, style), style, holds)
    kind = Push if slides else PickPlace
    return kind(picking, _placing(scene, goal, goals, style), style, holds)


def _is_covered(scene: Scene, target: str) -> bool:
    owner = None if scene.is_thing(target) else scene.owner(target)
    if owner is None or scene.joint(target) is not None:
        return False
    return is_covered(scene.points(owner), scene.region(target))


def _placing(scene: Scene, goal: Goal, goals: Sequence[Goal], style: Style) -> Placing:
    _, thing, target = goal
    sharers = [other[1] for other in goals if other[0] == "on" and other[2] == target]
    if scene.is_thing(target):
        return Placing(scene, thing, target, style)
    if len(sharers) > 1:
        return Sharing(scene, thing, target, style, sharers)
    turns = goal[0] == "in" and fitting_turn(scene.points(thing), scene.region(target).reach)
    kind = Compartment if turns else Placing
    return kind(scene, thing, target, style)
