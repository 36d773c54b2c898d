"""In which order the goals of a task are worked off, and what must come before them.

What is turned on comes first, while its surroundings are free; then things are put where they
belong, into drawers that are opened for it if they are shut; what is closed comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Goal = tuple[str, ...]

ORDER = {"turnon": 0, "turnoff": 0, "open": 1, "on": 2, "in": 2, "close": 3}


def ordered_goals(goals: Sequence[Goal], is_shut: Callable[[str], bool]) -> list[Goal]:
    """Returns the goals in the order of work, with the drawers that must be opened for them.

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
