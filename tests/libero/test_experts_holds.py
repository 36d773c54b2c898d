"""How drawers, knobs and doors are held, on shapes made here."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rfsq_jax.libero.experts.holds import DOWN, choose_hold, nearer_turned, tilted
from rfsq_jax.libero.experts.phases import CLOSE, OPEN
from rfsq_jax.libero.experts.picking import way_out
from rfsq_jax.libero.joints import Joint

UP = np.array([0.0, 0.0, 1.0])


def block(size, at):
    """Samples of a box: float64 [P, 3]."""
    ticks = [np.linspace(-0.5, 0.5, 13) * s for s in size]
    return np.stack(np.meshgrid(*ticks), axis=-1).reshape(-1, 3) + np.asarray(at)


def drawer(outward):
    """A box with a bar before its front, and its slide; shut at 0, open at 0.16."""
    points = np.concatenate(
        [block((0.2, 0.2, 0.08), (0, 0, 0)), block((0.01, 0.08, 0.01), (0.13, 0, 0.02))]
    )
    points = points @ np.stack([outward, np.cross(UP, outward), UP])
    return points, Joint(1, True, np.zeros(3), outward, 0.0, (0.0, 0.16))


@pytest.mark.parametrize("azimuth", [-1.5, 0.0, 0.8, 1.5])
def test_a_drawer_is_pulled_by_its_handle_and_pushed_before_it(azimuth):
    outward = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    points, slide = drawer(outward)
    pull = choose_hold(points, slide, towards=0.16)
    np.testing.assert_allclose(pull.point, 0.13 * outward + 0.02 * UP, atol=2e-3)
    assert pull.coming == OPEN
    assert pull.approach @ outward < -0.9
    opened = Joint(1, True, np.zeros(3), outward, 0.16, (0.0, 0.16))
    push = choose_hold(points, opened, towards=0.0)
    assert push.coming == CLOSE
    assert push.point @ outward > (points @ outward).max()


@pytest.mark.parametrize("angle", [0.0, 0.5, 1.3])
def test_a_tilted_hand_is_a_rotation_that_points_against_the_front(angle):
    outward = np.array([0.6, 0.8, 0.0])
    hand = tilted(outward, angle)
    np.testing.assert_allclose(hand @ hand.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(hand) == pytest.approx(1.0)
    assert hand[:, 2] @ outward == pytest.approx(-np.sin(angle))
    assert hand[:, 2] @ UP == pytest.approx(-np.cos(angle))


def test_a_knob_is_taken_across_its_ridge_from_above():
    ridge = block((0.05, 0.01, 0.02), (0, 0, 0.03))
    points = np.concatenate([block((0.06, 0.06, 0.02), (0, 0, 0.01)), ridge])
    hold = choose_hold(points, Joint(1, False, np.zeros(3), UP, 0.0, (0.0, 2.0)), towards=2.0)
    assert abs(hold.hand[:, 1] @ [0.0, 1.0, 0.0]) > 0.95
    np.testing.assert_allclose(hold.hand[:, 2], -UP, atol=1e-12)


def test_a_door_is_pushed_shut_from_its_outer_face_and_never_pulled_open():
    door = block((0.3, 0.02, 0.2), (0.15, 0, 0))
    hinge = Joint(1, False, np.zeros(3), UP, -1.0, (-1.6, 0.0))
    push = choose_hold(door, hinge, towards=0.0)
    assert push.point[1] < door[:, 1].min()
    assert push.approach[1] > 0.99
    with pytest.raises(ValueError, match="no skill"):
        choose_hold(door, Joint(1, False, np.zeros(3), UP, 0.0, (-1.6, 0.0)), towards=-1.6)


def test_closed_fingers_take_the_shorter_way_round():
    points, _ = drawer(np.array([1.0, 0.0, 0.0]))
    opened = Joint(1, True, np.zeros(3), np.array([1.0, 0.0, 0.0]), 0.16, (0.0, 0.16))
    hold = choose_hold(points, opened, towards=0.0)
    over = hold.hand @ np.diag([-1.0, -1.0, 1.0])
    quaternion = Rotation.from_matrix(over).as_quat()
    np.testing.assert_allclose(nearer_turned(hold, quaternion).hand, over, atol=1e-12)
    assert np.linalg.det(DOWN) == 1.0


def test_a_thing_comes_out_from_under_a_shelf_towards_the_arm():
    thing = block((0.06, 0.06, 0.05), (0, 0, 0.03))
    base, hand = np.array([-0.6, 0.0, 0.0]), np.array([0.0, 0.0, 0.05])
    shelf = block((0.1, 0.3, 0.02), (0.03, 0, 0.2))
    way = way_out(shelf, thing, hand, base)
    assert way[0] < 0
    cleared = thing + np.array([*way, 0.0])
    assert not way_out(shelf, cleared, hand + np.array([*way, 0.0]), base).any()
    assert not way_out(shelf + np.array([0.3, 0.0, 0.0]), thing, hand, base).any()
