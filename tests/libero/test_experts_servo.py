import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rfsq_jax.libero.experts import Style
from rfsq_jax.libero.experts.servo import Servo, rotation_error

DOWN = Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))


@pytest.mark.parametrize("yaw", [-1.2, 0.0, 0.5, 1.5])
@pytest.mark.parametrize("seed", range(4))
def test_the_rotation_error_turns_the_hand_down(yaw, seed):
    hand = Rotation.from_rotvec(np.random.default_rng(seed).normal(size=3)) * DOWN
    error = rotation_error(hand.as_quat(), yaw)
    expected = (Rotation.from_rotvec([0, 0, yaw]) * DOWN * hand.inv()).as_rotvec()
    np.testing.assert_allclose(error, expected, atol=1e-9)


def test_a_hand_that_is_down_needs_no_turn():
    np.testing.assert_array_equal(rotation_error(DOWN.as_quat(), 0.0), np.zeros(3))


def test_speed_grows_no_faster_than_the_style_allows():
    servo = Servo(Style(acceleration=0.2))
    far = np.array([1.0, 0.5, 0.0])
    speeds = [servo(far, np.zeros(3), speed=1.0, gripper=-1.0)[0] for _ in range(6)]
    np.testing.assert_allclose(speeds, [0.2, 0.4, 0.6, 0.8, 0.9, 0.9])
