"""Grasps from shape alone, on boxes and rings made here."""

import numpy as np
import pytest

from rfsq_jax.libero.experts.grasps import choose_grasp, num_blocked, rim_grasps, top_grasps

BASE = np.array([-0.6, 0.0, 0.0])
NOTHING = np.zeros((0, 3))


def box(size, yaw=0.0, at=(0.0, 0.0)):
    """Samples of an upright box on the floor: float64 [P, 3]."""
    ticks = [np.linspace(-0.5, 0.5, 15) * s for s in size]
    points = np.stack(np.meshgrid(*ticks), axis=-1).reshape(-1, 3)
    c, s = np.cos(yaw), np.sin(yaw)
    points = points @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T
    return points + np.array([*at, size[2] / 2])


def ring(radius, height):
    """Samples of an upright tube on the floor: float64 [P, 3]."""
    angle, z = np.meshgrid(np.linspace(0, 2 * np.pi, 120), np.linspace(0, height, 12))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], -1).reshape(-1, 3)


def choose(points, obstacles=NOTHING):
    rng = np.random.default_rng(0)
    return choose_grasp(points, obstacles, base=BASE, taste=0.0, rng=rng)


@pytest.mark.parametrize("yaw", [-0.6, 0.0, 0.4, 0.7])
def test_a_box_is_held_across_its_narrow_side(yaw):
    grasp = choose(box((0.12, 0.04, 0.03), yaw))
    assert abs(grasp.yaw - yaw) <= np.pi / 36
    np.testing.assert_allclose(grasp.point[:2], 0.0, atol=2e-3)


def test_a_thing_too_long_one_way_turns_the_wrist():
    assert abs(choose(box((0.04, 0.12, 0.03))).yaw) > np.radians(70)


def test_a_wide_ring_is_held_at_its_rim_near_the_arm():
    points = ring(0.05, 0.05)
    assert not top_grasps(points)
    grasp = choose(points)
    assert 0.04 < np.hypot(*grasp.point[:2]) < 0.055
    assert len(rim_grasps(points)) == 36


def test_a_neighbour_moves_the_grasp_away():
    points, wall = ring(0.05, 0.05), box((0.02, 0.1, 0.1), yaw=np.pi / 2, at=(0.0, 0.11))
    free = choose(ring(0.05, 0.05))
    blocked_side = free if free.point[1] > 0 else choose(points * [1, -1, 1])
    kept_clear = choose(points, wall)
    assert num_blocked(kept_clear, wall) <= num_blocked(blocked_side, wall)
    assert num_blocked(kept_clear, wall) == 0


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_where_nearness_counts_the_rim_on_the_side_of_the_hand_is_taken(side):
    hand, rng = np.array([0.0, 0.01 * side, 0.2]), np.random.default_rng(0)
    points = ring(0.05, 0.05)
    grasp = choose_grasp(points, NOTHING, base=BASE, taste=0.0, rng=rng, hand=hand, nearness=10.0)
    assert side * grasp.point[1] > 0.04


def test_nearness_needs_a_hand():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="hand must be given"):
        choose_grasp(ring(0.05, 0.05), NOTHING, base=BASE, taste=0.0, rng=rng, nearness=1.0)
