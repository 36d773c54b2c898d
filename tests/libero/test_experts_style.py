import dataclasses

import numpy as np
import pytest

from rfsq_jax.libero.experts import Style, human_style, make_style
from rfsq_jax.libero.experts.style import MAX_TRANSLATION, Burst


def test_a_style_is_a_function_of_the_generator():
    assert human_style(np.random.default_rng(3)) == human_style(np.random.default_rng(3))
    assert human_style(np.random.default_rng(3)) != human_style(np.random.default_rng(4))


def test_the_steady_style_draws_nothing():
    rng = np.random.default_rng(0)
    assert make_style("steady", rng) == Style()
    assert rng.uniform() == np.random.default_rng(0).uniform()


def test_bursts_add_up_where_they_overlap_and_spare_the_gripper():
    push, turn = (0.1, 0.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, 0.0, 0.05)
    style = Style(bursts=(Burst(2, 3, push), Burst(4, 2, turn)))
    found = np.stack([style.disturbance(step) for step in range(8)])
    expected = np.zeros((8, 7))
    expected[2:5, 0], expected[4:6, 5] = 0.1, 0.05
    np.testing.assert_allclose(found, expected)


def test_about_one_first_grasp_in_twelve_is_spoiled():
    rng = np.random.default_rng(0)
    spoiled = sum(human_style(rng).miss is not None for _ in range(1000))
    assert 50 <= spoiled <= 115


@pytest.mark.parametrize("speed", [0.0, MAX_TRANSLATION + 0.01])
def test_a_speed_outside_the_demonstrations_is_refused(speed):
    with pytest.raises(ValueError, match="top_speed must be in"):
        Style(top_speed=speed)


def test_an_unknown_style_is_refused():
    with pytest.raises(
        ValueError, match=r"style must be one of steady, human, nearest_grasp, got 'hasty'"
    ):
        make_style("hasty", np.random.default_rng(0))


def test_near_differs_from_human_only_in_how_a_grasp_is_chosen():
    near = make_style("nearest_grasp", np.random.default_rng(3))
    human = human_style(np.random.default_rng(3), miss_rate=0.0)
    assert near.grasp_taste == 0.0 < near.grasp_nearness
    chosen = {"grasp_taste": human.grasp_taste, "grasp_nearness": human.grasp_nearness}
    assert dataclasses.replace(near, **chosen) == human
