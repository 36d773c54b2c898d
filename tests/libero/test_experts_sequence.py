"""The order in which goals are worked off."""

import itertools

import pytest

from rfsq_jax.libero.experts.choice import ordered_goals

GOALS = [
    ("Close", "cabinet_bottom_region"),
    ("In", "bowl", "cabinet_bottom_region"),
    ("Turnon", "stove"),
    ("On", "pot", "stove_cook_region"),
]


@pytest.mark.parametrize("goals", list(itertools.permutations(GOALS)))
def test_things_go_in_before_it_is_closed_and_the_stove_is_lit_first(goals):
    kinds = [goal[0] for goal in ordered_goals(goals, lambda region: False)]
    assert kinds[0] == "turnon"
    assert kinds[-1] == "close"
    assert sorted(kinds) == ["close", "in", "on", "turnon"]


def test_a_shut_drawer_is_opened_once_before_things_go_in():
    goals = [("In", "bowl", "top_region"), ("In", "cheese", "top_region")]
    steps = ordered_goals(goals, lambda region: True)
    assert steps == [
        ("open", "top_region"),
        ("in", "bowl", "top_region"),
        ("in", "cheese", "top_region"),
    ]
    assert len(ordered_goals(goals, lambda region: False)) == 2


def test_a_goal_without_a_skill_is_refused():
    with pytest.raises(ValueError, match="there is no skill for Stack bowl plate"):
        ordered_goals([("Stack", "bowl", "plate")], lambda region: False)
