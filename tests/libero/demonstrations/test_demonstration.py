import numpy as np

from rfsq_jax.libero.demonstrations.demonstration import count_no_ops
from tests.support.demonstrations import make_demonstration


def test_no_ops_are_steps_without_motion_or_gripper_change():
    still, moving = [0.0] * 6, [0.1, 0, 0, 0, 0, 0]
    rows = [
        [*still, -1],
        [*moving, -1],
        [*still, -1],
        [*still, 1],
        [*still, 1],
        [*moving, 1],
    ]
    # The first row, the third, and the fifth.
    assert count_no_ops(np.array(rows, np.float32)) == 3


def test_a_demonstration_is_an_episode():
    demonstration = make_demonstration(0, images=True)
    episode = demonstration.episode
    np.testing.assert_array_equal(episode.actions, demonstration.actions)
    assert episode.images is not None
    assert episode.images["agentview"].shape == (6, 8, 8, 3)
    assert episode.instruction == "put the cube on the plate"
