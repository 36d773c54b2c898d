"""How parts move on joints, as rigid motions."""

import numpy as np
import pytest

from rfsq_jax.libero.joints import Joint, turn_about

AXIS = np.array([0.6, 0.0, 0.8])
POINT = np.array([0.3, -0.2, 0.5])


def joint(*, slides, limits=(-0.16, 0.01)):
    return Joint(
        body=1, slides=slides, anchor=np.array([0.1, 0.2, 0.3]), axis=AXIS, value=0.0, limits=limits
    )


@pytest.mark.parametrize("slides", [True, False])
def test_two_small_moves_are_one_large_one(slides):
    moving = joint(slides=slides)
    twice = moving.moved(moving.moved(POINT, 0.1), 0.25)
    np.testing.assert_allclose(twice, moving.moved(POINT, 0.35), atol=1e-12)
    np.testing.assert_array_equal(joint(slides=True).moved(POINT, 0.0), POINT)


def test_a_slide_moves_all_points_alike_and_turns_nothing():
    np.testing.assert_allclose(joint(slides=True).moved(POINT, 0.5) - POINT, 0.5 * AXIS)
    np.testing.assert_array_equal(joint(slides=True).turned(0.5), np.eye(3))


def test_a_hinge_keeps_distance_and_height_along_its_axis():
    hinge = joint(slides=False)
    before, after = POINT - hinge.anchor, hinge.moved(POINT, 1.1) - hinge.anchor
    assert np.linalg.norm(after) == pytest.approx(np.linalg.norm(before))
    assert after @ AXIS == pytest.approx(before @ AXIS)
    assert not np.allclose(after, before)


@pytest.mark.parametrize("limits", [(-0.16, 0.01), (0.0, 2.0), (-2.0, 0.0)])
def test_the_far_end_is_the_one_away_from_rest(limits):
    ends = joint(slides=True, limits=limits)
    assert {ends.far_end, ends.near_end} == set(limits)
    assert abs(ends.far_end) > abs(ends.near_end)


def test_a_quarter_turn_about_the_vertical():
    turned = turn_about(np.array([0.0, 0.0, 1.0]), np.pi / 2) @ np.array([1.0, 0.0, 0.0])
    np.testing.assert_allclose(turned, [0.0, 1.0, 0.0], atol=1e-12)
