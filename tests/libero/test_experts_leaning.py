"""Leaning a thing towards the normal of a slope, against SciPy's rotations."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rfsq_jax.libero.experts.grasps import closing_direction
from rfsq_jax.libero.experts.leaning import across, is_slope, lean_towards, region_normal
from rfsq_jax.libero.scene import Region

AZIMUTHS = np.linspace(-3.0, 3.0, 9)


def normal(azimuth, tilt=1.0):
    flat = np.sin(tilt) * np.array([np.cos(azimuth), np.sin(azimuth)])
    return np.array([*flat, np.cos(tilt)])


def region(rotation):
    return Region(np.zeros(3), rotation, np.array([0.1, 0.02, 0.003]))


@pytest.mark.parametrize("azimuth", AZIMUTHS)
def test_the_lean_takes_the_vertical_to_the_normal(azimuth):
    lean = lean_towards(normal(azimuth))
    np.testing.assert_allclose(Rotation.from_rotvec(lean).apply([0, 0, 1]), normal(azimuth))
    assert lean[2] == 0.0


def test_a_level_place_asks_for_no_lean():
    np.testing.assert_array_equal(lean_towards(np.array([0.0, 0.0, 1.0])), np.zeros(3))


@pytest.mark.parametrize("azimuth", [*AZIMUTHS, -np.pi / 2, np.pi / 2])
def test_the_thing_falls_between_the_fingers_and_not_onto_one(azimuth):
    yaw = across(normal(azimuth))
    assert closing_direction(yaw) @ normal(azimuth)[:2] == pytest.approx(0.0, abs=1e-12)
    assert -np.radians(80.0) <= yaw <= np.radians(100.0)


def test_upside_down_regions_have_the_same_normal():
    tilted = Rotation.from_euler("x", 60, degrees=True).as_matrix()
    turned_over = tilted @ np.diag([1.0, -1.0, -1.0])
    np.testing.assert_allclose(region_normal(region(tilted)), region_normal(region(turned_over)))


@pytest.mark.parametrize(("degrees", "slope"), [(0, False), (20, False), (60, True), (180, False)])
def test_what_counts_as_a_slope(degrees, slope):
    rotation = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    assert is_slope(region(rotation)) is slope
