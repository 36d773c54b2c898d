import numpy as np
from scipy.spatial.transform import Rotation

from rfsq_jax.libero.sensors import axis_angle_from_quaternion


def test_axis_angle_is_the_same_rotation_with_an_angle_up_to_two_pi():
    for quaternion in Rotation.random(200, rng=np.random.default_rng(0)).as_quat():
        for signed in (quaternion, -quaternion):
            vector = axis_angle_from_quaternion(signed)
            difference = Rotation.from_rotvec(vector) * Rotation.from_quat(signed).inv()
            assert difference.magnitude() < 1e-7
            assert np.isclose(np.linalg.norm(vector), 2 * np.arccos(signed[3]))


def test_no_rotation_is_zero():
    np.testing.assert_array_equal(axis_angle_from_quaternion(np.array([0.0, 0, 0, 1])), np.zeros(3))
