"""Which way of picking and placing suits a goal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rfsq_jax.libero.experts.compartment import Compartment, fitting_turn
from rfsq_jax.libero.experts.covered_place import HandlePicking, Insertion, is_covered
from rfsq_jax.libero.experts.insert import Insert
from rfsq_jax.libero.experts.leaning import LayDown, Slope, is_slope
from rfsq_jax.libero.experts.pick_place import PickPlace
from rfsq_jax.libero.experts.picking import Picking
from rfsq_jax.libero.experts.placing import Placing
from rfsq_jax.libero.experts.push import Push
from rfsq_jax.libero.experts.sequence import Goal
from rfsq_jax.libero.experts.sharing import Sharing
from rfsq_jax.libero.experts.style import Style
from rfsq_jax.libero.scene import Scene


def make_pick_place(
    scene: Scene,
    goal: Goal,
    goals: Sequence[Goal],
    style: Style,
    rng: np.random.Generator,
    holds: Callable[[], bool] | None = None,
    *,
    slides: bool = False,
) -> PickPlace:
    """Returns the skill for a goal that puts something somewhere.

    Args:
      scene: where.
      goal: such as ("on", "moka_pot_1", "flat_stove_1_cook_region").
      goals: all goals of the task, this one among them.
      style: how the hand moves.
      rng: of choices within the episode.
      holds: whether the goal holds now; by default the geometry decides.
      slides: whether the thing stays on the table on its way.
    """
    _, thing, target = goal
    if goal[0] == "in" and _is_covered(scene, target):
        placing = Insertion(
            scene, thing, target, offset=style.place_offset, clearance=style.carry_height
        )
        return Insert(scene, HandlePicking(scene, thing, style, rng), placing, style, holds)
    picking = Picking(scene, thing, style, rng)
    if rests_on_slope(scene, goal) and holds is not None:
        slope = Slope(scene, thing, target, offset=style.place_offset, clearance=style.carry_height)
        return LayDown(scene, picking, slope, style, holds)
    kind = Push if slides else PickPlace
    return kind(scene, picking, _placing(scene, goal, goals, style), style, holds)


def rests_on_slope(scene: Scene, goal: Goal) -> bool:
    """Whether a goal puts something on a region that is not level."""
    return not scene.is_thing(goal[2]) and is_slope(scene.region(goal[2]))


def _is_covered(scene: Scene, target: str) -> bool:
    owner = None if scene.is_thing(target) else scene.owner(target)
    if owner is None or scene.joint(target) is not None:
        return False
    return is_covered(scene.points(owner), scene.region(target))


def _placing(scene: Scene, goal: Goal, goals: Sequence[Goal], style: Style) -> Placing:
    _, thing, target = goal
    sharers = [other[1] for other in goals if other[0] == "on" and other[2] == target]
    kind = Placing
    if not scene.is_thing(target):
        if len(sharers) > 1:
            return Sharing(
                scene,
                thing,
                target,
                sharers,
                offset=style.place_offset,
                clearance=style.carry_height,
            )
        if goal[0] == "in" and fitting_turn(scene.points(thing), scene.region(target).reach):
            kind = Compartment
    return kind(scene, thing, target, offset=style.place_offset, clearance=style.carry_height)
