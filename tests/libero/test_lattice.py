import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis.extra import numpy as hnp

from rfsq_jax.libero.lattice import LIMITS, UNITS, from_counts, snap, to_counts

# From the public LIBERO-Goal demonstrations.
PUBLISHED = np.array(
    [
        [
            0.02946428582072258,
            0.02410714328289032,
            0.6455357074737549,
            0,
            0,
            -0.028928572311997414,
            1,
        ],
        [0.09107142686843872, 0.005357143003493, 0.9375, 0, 0, -0.027857143431901932, -1],
    ]
)


def counts() -> st.SearchStrategy[np.ndarray]:
    shape = hnp.array_shapes(min_dims=0, max_dims=2, max_side=4).map(lambda shape: (*shape, 7))
    return hnp.arrays(np.int16, shape, elements=st.integers(-350, 350)).map(with_gripper)


def with_gripper(values: np.ndarray) -> np.ndarray:
    values[..., 6] = np.where(values[..., 6] > 0, 1, -1)
    return values


@hypothesis.given(counts())
def test_counts_survive_the_round_trip(values):
    actions = from_counts(values)
    assert actions.dtype == np.float32
    np.testing.assert_array_equal(to_counts(actions), values)
    np.testing.assert_array_equal(snap(actions), actions)


def test_published_actions_lie_on_the_lattice():
    expected = np.rint(PUBLISHED / UNITS)
    np.testing.assert_array_equal(to_counts(PUBLISHED), expected)
    np.testing.assert_allclose(from_counts(to_counts(PUBLISHED)), PUBLISHED, atol=1e-7)


@hypothesis.given(hnp.arrays(np.float64, (5, 7), elements=st.floats(-2, 2)))
def test_snap_moves_by_at_most_half_a_unit_within_the_bounds(actions):
    actions[:, 6] = np.where(actions[:, 6] >= 0, 0.3, -0.3)
    snapped = snap(actions)
    inside = np.clip(actions, -LIMITS * UNITS, LIMITS * UNITS)
    assert (np.abs(snapped - inside)[:, :6] <= UNITS[:6] / 2 + 1e-6).all()
    np.testing.assert_array_equal(snapped[:, 6], np.sign(actions[:, 6]))


def test_bounds_are_those_of_the_published_data():
    far = snap(np.full(7, 5.0))
    np.testing.assert_array_equal(far, np.array([0.9375] * 3 + [0.375] * 3 + [1], np.float32))


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros((2, 6)), "shape"),
        (np.full((2, 7), np.nan), "finite"),
        (np.zeros((2, 7)), "gripper"),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_snap_refuses_what_is_no_action(actions, message):
    with pytest.raises(ValueError, match=message):
        snap(actions)


def test_an_action_between_lattice_points_has_no_counts():
    action = np.array([0.0, UNITS[0] * 1.5, 0, 0, 0, 0, 1])
    with pytest.raises(ValueError, match=r"lattice.*at \(1,\)"):
        to_counts(action)
