"""The image path, step by step, against what each step is defined as."""

import numpy as np
import pytest

from rfsq_jax.backbones.openvla import images


def picture(size: int = 256) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    smooth = [128 + 100 * np.sin(x / 20), 255 * y / size, 128 + 60 * np.cos((x + y) / 30)]
    return np.stack(smooth, axis=-1).astype(np.uint8)


def test_rotation_is_half_a_turn() -> None:
    np.testing.assert_array_equal(images.rotate(picture()), np.rot90(picture(), 2))


def test_crop_reads_the_middle_by_its_formula() -> None:
    ramp = np.broadcast_to(np.arange(224, dtype=np.uint8)[None, :, None], (224, 224, 3))
    side = np.sqrt(0.9)
    expected = (1 - side) / 2 * 223 + np.arange(224) * side
    # Stored again by floor(value * 255.5 / 255).
    expected = np.floor(expected * 255.5 / 255)
    got = images.centre_crop(np.ascontiguousarray(ramp))[5, :, 0].astype(float)
    assert np.abs(got - expected).max() <= 1
    assert (got == expected).mean() > 0.99


def test_resizing_keeps_what_is_of_the_right_size_and_constants() -> None:
    np.testing.assert_array_equal(images.resize(picture(224), 224), picture(224))
    assert (images.resize(np.full((256, 256, 3), 77, np.uint8), 224) == 77).all()


def test_each_tower_has_its_normalisation() -> None:
    black = images.normalize(np.zeros((2, 2, 3), np.uint8))[0, 0]
    expected = [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225, -1, -1, -1]
    np.testing.assert_allclose(black, expected, rtol=1e-6)


def test_whole_path() -> None:
    pytest.importorskip("simplejpeg")
    decoded = images.jpeg_round_trip(picture()).astype(int)
    assert np.abs(decoded - picture()).mean() < 3
    assert images.prepare(picture(), 224).shape == (224, 224, 6)
