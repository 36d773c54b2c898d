"""The robot's state as heads see it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from rfsq_jax.heads import proprio
from rfsq_jax.heads.proprio import ProprioStatistics

DOWN = Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))
vectors = st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3).map(np.array)


def as_state(vector: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.1, 0.2, 0.3], vector, [0.04, -0.04]]).astype(np.float32)


@given(vectors)
def test_the_rotation_is_relative_to_a_gripper_that_points_down(vector):
    state = as_state((DOWN * Rotation.from_rotvec(vector)).as_rotvec())
    np.testing.assert_allclose(proprio.relative_state(state)[3:6], vector, atol=2e-5)


@given(vectors)
def test_the_sign_of_the_axis_near_half_a_turn_does_not_matter(vector):
    rotation = (DOWN * Rotation.from_rotvec(0.1 * vector)).as_rotvec()
    angle = np.linalg.norm(rotation)
    other = rotation / angle * (angle - 2 * np.pi)
    a, b = (np.asarray(proprio.relative_state(as_state(v))) for v in (rotation, other))
    np.testing.assert_allclose(a, b, atol=2e-5)


def test_straight_down_is_zero_and_everything_else_stays():
    state = as_state(np.array([np.pi, 0.0, 0.0]))
    expected = as_state(np.zeros(3))
    np.testing.assert_allclose(proprio.relative_state(state), expected, atol=1e-6)


def test_training_states_have_zero_mean_and_unit_spread():
    rng = np.random.default_rng(0)
    states = np.stack([as_state(v) for v in rng.uniform(-1, 1, (200, 3))])
    states[:, :2] += rng.normal(size=(200, 2)).astype(np.float32)
    statistics = proprio.fit(states)
    values = np.asarray(proprio.normalize(statistics, states))
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-4)
    constant = values.std(axis=0) < 1e-6
    np.testing.assert_array_equal(constant, [False, False, True, False, False, False, True, True])
    np.testing.assert_allclose(values.std(axis=0)[~constant], 1, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": np.full(8, np.nan)}, "state.mean must be finite"),
        ({"mean": np.full(8, 1e300)}, "state.mean must be finite.*beyond float32"),
        ({"std": np.full(8, np.inf)}, "state.std must be finite"),
        ({"std": np.eye(8)[0]}, "state.std must be at least 1e-06, got 0.0"),
        ({"std": np.full(8, -1.0)}, "state.std must be at least 1e-06, got -1.0"),
        ({"mean": np.zeros(7)}, r"state.mean must be of 8 values, got \(7,\)"),
        ({"std": np.ones((8, 1))}, r"state.std must be of 8 values, got \(8, 1\)"),
        ({"std": np.ones(8, int)}, "state.std must be floating point"),
    ],
)
def test_statistics_that_would_make_nan_are_refused(change, message):
    unit = ProprioStatistics(np.zeros(8, np.float32), np.ones(8, np.float32))
    proprio.check(unit)
    proprio.check(proprio.fit(np.zeros((3, 8), np.float32)))
    with pytest.raises((TypeError, ValueError), match=message):
        proprio.check(unit._replace(**change))
