"""The tasks of two stages: how goals are ordered and things are placed, and that it works."""

import numpy as np
import pytest

from rfsq_jax.libero.demonstrations.recording import record
from rfsq_jax.libero.experts import make_expert
from rfsq_jax.libero.experts.choice import ordered_goals
from rfsq_jax.libero.experts.covered_place import (
    HANDLE_DEPTH,
    angle_between,
    floor_height,
    handle_direction,
    handle_grasp,
    is_covered,
    middle_of_opening,
    open_side,
)
from rfsq_jax.libero.experts.grasps import closing_direction, pinch_grasps
from rfsq_jax.libero.experts.holds import front_push, nearer_turned
from rfsq_jax.libero.experts.placing import fitting_turn, row_places
from rfsq_jax.libero.placements import random_start
from rfsq_jax.libero.scene import Region

TIGHT = np.array([0.028, 0.062, 0.06])
ROOM = Region(np.array([0.4, -0.2, 1.0]), np.eye(3), np.array([0.12, 0.08, 0.06]))


def box(size, centre=(0.0, 0.0, 0.0), spacing=0.01):
    """Samples a solid box: float64 [P, 3]."""
    ticks = [np.linspace(-0.5 * s, 0.5 * s, 2 + int(s / spacing)) for s in size]
    return np.stack(np.meshgrid(*ticks), axis=-1).reshape(-1, 3) + np.array(centre)


def turned(points, angle):
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T


def oven(outward):
    """A box of walls around ROOM, open on one side: float64 [Q, 3]."""
    x, y, z = ROOM.half
    sides = {
        (1, 0): box((0.01, 2 * y, 2 * z), (x, 0, 0)),
        (-1, 0): box((0.01, 2 * y, 2 * z), (-x, 0, 0)),
        (0, 1): box((2 * x, 0.01, 2 * z), (0, y, 0)),
        (0, -1): box((2 * x, 0.01, 2 * z), (0, -y, 0)),
    }
    del sides[outward]
    lids = [box((2 * x, 2 * y, 0.01), (0, 0, height)) for height in (-z, z)]
    return np.concatenate([*sides.values(), *lids]) + ROOM.center


def mug():
    """A cylinder with a handle that points to -y, its bottom at the origin: float64 [P, 3]."""
    turns = np.linspace(0, 2 * np.pi, 40)
    ring = np.stack([0.04 * np.cos(turns), 0.04 * np.sin(turns)], axis=1)
    wall = np.concatenate([np.column_stack([ring, np.full(40, h)]) for h in (0, 0.03, 0.06, 0.1)])
    return np.concatenate([wall, box((0.015, 0.03, 0.06), (0.0, -0.055, 0.05))])


def test_things_go_in_before_their_drawer_is_closed():
    goals = [("Close", "drawer"), ("In", "bowl", "drawer")]
    assert ordered_goals(goals, lambda region: False) == [
        ("in", "bowl", "drawer"),
        ("close", "drawer"),
    ]


def test_the_stove_is_turned_on_before_it_is_covered():
    goals = [("on", "pot", "stove"), ("on", "pan", "stove"), ("turnon", "stove")]
    assert ordered_goals(goals, lambda region: False) == [goals[2], goals[0], goals[1]]


@pytest.mark.parametrize("angle", [-1.4, -0.6, 0.0, 0.3, 1.2])
def test_a_book_is_turned_until_it_fits(angle):
    book = turned(box((0.11, 0.03, 0.13)), angle)
    turn = fitting_turn(book, TIGHT)
    extents = np.ptp(turned(book, turn), axis=0)
    assert (extents[:2] <= 2 * TIGHT[:2]).all()
    assert abs(turn) <= np.pi / 2


def test_what_fits_or_never_fits_is_not_turned():
    assert fitting_turn(box((0.03, 0.11, 0.13)), TIGHT) == 0.0
    assert fitting_turn(box((0.2, 0.2, 0.1)), TIGHT) == 0.0


@pytest.mark.parametrize("number", [2, 3])
def test_neighbours_do_not_touch_and_fill_the_middle(number):
    pots = [box((0.08, 0.15, 0.15), (0.3 * k, 0.1, 0.0)) for k in range(number)]
    places = row_places(pots)
    np.testing.assert_allclose(np.mean(places, axis=0), 0, atol=1e-12)
    xs = [place[0] for place in places]
    assert xs == sorted(xs, reverse=True)
    assert min(-np.diff(xs)) > 0.08
    assert all(place[1] == 0 for place in places)


@pytest.mark.parametrize("outward", [(1, 0), (-1, 0), (0, 1), (0, -1)])
def test_an_oven_is_entered_through_its_open_side(outward):
    walls = oven(outward)
    np.testing.assert_array_equal(open_side(walls, ROOM), outward)
    assert is_covered(walls, ROOM)
    assert abs(middle_of_opening(walls, ROOM, np.array(outward, float))) < 0.006
    bottom = ROOM.center[2] - ROOM.half[2]
    assert bottom <= floor_height(walls, ROOM) <= bottom + 0.006


def test_a_drawer_without_a_lid_is_not_covered():
    walls = oven((0, -1))
    assert not is_covered(walls[walls[:, 2] < ROOM.center[2]], ROOM)


@pytest.mark.parametrize("angle", [0.0, 0.7, -1.9, 3.0])
def test_a_mug_is_held_across_its_handle_with_the_palm_outside(angle):
    points = turned(mug(), angle)
    outward = turned(np.array([[0.0, -1.0, 0.0]]), angle)[0, :2]
    assert abs(angle_between(handle_direction(points), outward)) < 0.15
    grasp = handle_grasp(points)
    assert abs(closing_direction(grasp.yaw) @ outward) < 0.15
    assert grasp.point[:2] @ outward > 0.07 - HANDLE_DEPTH
    leaning = np.cross(grasp.lean_vector(), [0.0, 0.0, 1.0])
    assert leaning[:2] @ outward > 0.4


@pytest.mark.parametrize("start", [-3.0, 0.2, 1.5])
def test_turning_by_the_angle_between_gets_there(start):
    directions = np.array([[np.cos(start), np.sin(start), 0.0]])
    end = np.array([0.0, -1.0])
    angle = angle_between(directions[0, :2], end)
    np.testing.assert_allclose(turned(directions, angle)[0, :2], end, atol=1e-12)


def test_only_knobs_are_pinched():
    lid = box((0.1, 0.1, 0.01))
    assert pinch_grasps(np.concatenate([lid, box((0.012, 0.012, 0.02), (0.02, 0.0, 0.015))]))
    assert not pinch_grasps(np.concatenate([lid, box((0.012, 0.05, 0.02), (0.02, 0.0, 0.015))]))


def test_a_push_comes_from_the_front_whichever_way_the_hand_is_turned():
    drawer = box((0.2, 0.15, 0.07), (0.0, 0.3, 0.95))
    outward = np.array([0.0, -1.0, 0.0])
    hold = front_push(drawer, outward)
    assert hold.point @ outward > (drawer @ outward).max()
    other = nearer_turned(hold, np.array([1.0, 0.0, 0.0, 0.0]))
    for hand in (hold.hand, other.hand):
        np.testing.assert_allclose(hand @ hand.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(hand[:, 2], hold.hand[:, 2])
        assert hand[2, 2] < 0 < hand[1, 2]


def solves(env, seed):
    rng = np.random.default_rng([seed, env.task.index])
    demonstration = record(env, random_start(env, seed), lambda env: make_expert(env, rng, "human"))
    return demonstration is not None


def test_a_mug_goes_into_the_oven_and_the_door_is_closed(environment):
    assert solves(environment("libero_10", 9), 0)


@pytest.mark.slow
def test_75_of_100_random_placements_succeed_and_no_task_fails(environment):
    solved = np.array(
        [
            [solves(environment("libero_10", index), seed) for seed in range(10)]
            for index in range(10)
        ]
    )
    assert solved.any(axis=1).all()
    assert solved.sum() >= 75
