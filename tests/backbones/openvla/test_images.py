"""The image path, step by step, against TensorFlow's results and what each step is defined as."""

import hashlib
import importlib.util
import io
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import map_coordinates

from rfsq_jax.backbones.openvla import images, lanczos
from rfsq_jax.data.readers import jpeg

needs_decoder = pytest.mark.skipif(
    importlib.util.find_spec("simplejpeg") is None, reason="simplejpeg is not installed"
)

# The first half of sha256 of what TensorFlow 2.21 makes of `tiles()` on a processor with AVX.
TENSORFLOW = {
    "file": "f32dfe7167e74a358e5f4e1792ef3b9f",
    "decoded": "7b44f642243802673b4e4c3b48329e0d",
    "resized to 224": "34f55823ec30ebc265a3a8d96d5c7b91",
    "cropped of 224": "265d688171f3cbac0b8bb9de611fd67a",
    "resized to 56": "73ffa292e77dbe2260057dc0461e26ca",
    "cropped of 56": "53892ad419b13ef8a76dcfd17e5753e2",
}


def picture(size: int = 256) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    smooth = [128 + 100 * np.sin(x / 20), 255 * y / size, 128 + 60 * np.cos((x + y) / 30)]
    return np.stack(smooth, axis=-1).astype(np.uint8)


def tiles(size: int = 256) -> np.ndarray:
    """Waves, edges and texture, out of whole numbers only: the same wherever it is drawn."""
    y, x = np.mgrid[:size, :size]
    squares = ((x // 32 + y // 32) % 2) * 180 + (x * 7 + y * 13) % 41
    channels = [(x * y // 97) % 256, (x * x // 53 + 3 * y) % 256, squares]
    return np.stack(channels, axis=-1).astype(np.uint8)


def noise(size: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)


def digest(result: bytes | np.ndarray) -> str:
    return hashlib.sha256(bytes(result)).hexdigest()[:32]


def test_rotation_is_half_a_turn() -> None:
    np.testing.assert_array_equal(images.rotate(picture()), np.rot90(picture(), 2))


def test_the_jpeg_file_is_tensorflows() -> None:
    assert digest(jpeg.encode(tiles())) == TENSORFLOW["file"]


@needs_decoder
def test_every_step_is_tensorflows() -> None:
    decoded = images.jpeg_round_trip(tiles())
    assert digest(decoded) == TENSORFLOW["decoded"]
    for size in (224, 56):
        resized = images.resize(decoded, size)
        assert digest(resized) == TENSORFLOW[f"resized to {size}"]
        assert digest(images.centre_crop(resized)) == TENSORFLOW[f"cropped of {size}"]


def test_the_digests_are_tensorflows() -> None:
    tf = pytest.importorskip("tensorflow")
    file = tf.image.encode_jpeg(tiles()).numpy()
    decoded = tf.io.decode_jpeg(file).numpy()
    got = {"file": digest(file), "decoded": digest(decoded)}
    for size in (224, 56):
        resized = tf.image.resize(decoded, (size, size), method="lanczos3", antialias=True)
        resized = tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)
        side = tf.sqrt(0.9)
        corner = (1 - side) / 2
        box = [[corner, corner, corner + side, corner + side]]
        pixels = tf.image.convert_image_dtype(resized, tf.float32)[None]
        cropped = tf.image.crop_and_resize(pixels, box, [0], (size, size))[0]
        cropped = tf.image.convert_image_dtype(tf.clip_by_value(cropped, 0, 1), tf.uint8, True)
        got[f"resized to {size}"] = digest(resized.numpy())
        got[f"cropped of {size}"] = digest(cropped.numpy())
    assert got == TENSORFLOW


@needs_decoder
def test_pil_decodes_otherwise() -> None:
    """Its accurate transform; the mean of one grey level is what the fast one costs."""
    with Image.open(io.BytesIO(jpeg.encode(picture()))) as file:
        apart = np.abs(np.asarray(file).astype(int) - images.jpeg_round_trip(picture()))
    assert 0.5 < apart.mean() < 1.5
    assert apart.max() <= 8


@needs_decoder
def test_the_round_trip_keeps_the_picture() -> None:
    assert np.abs(images.jpeg_round_trip(picture()).astype(int) - picture()).mean() < 3


@pytest.mark.parametrize("sizes", [(256, 224), (256, 56), (128, 224)])
def test_resizing_is_lanczos(sizes: tuple[int, int]) -> None:
    shape = (sizes[1], sizes[1], 3)
    for image in (picture(sizes[0]), tiles(sizes[0]), noise(sizes[0])):
        expected = jax.image.resize(jnp.asarray(image, jnp.float32), shape, "lanczos3")
        got = lanczos.resize(image, sizes[1])
        np.testing.assert_allclose(got, expected, atol=2e-3)
        rounded = np.clip(np.round(got), 0, 255)
        np.testing.assert_array_equal(images.resize(image, sizes[1]), rounded)


def test_resizing_takes_height_and_width_apart() -> None:
    wide = noise()[:100]
    shape = (56, 56, 3)
    expected = jax.image.resize(jnp.asarray(wide, jnp.float32), shape, "lanczos3")
    np.testing.assert_allclose(lanczos.resize(wide, 56), expected, atol=5e-4)


def test_pil_resizes_otherwise() -> None:
    pil = np.asarray(Image.fromarray(noise()).resize((224, 224), Image.Resampling.LANCZOS))
    assert 0.1 < (pil != images.resize(noise(), 224)).mean() < 0.3


def test_resizing_rounds_half_to_even_and_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.array([[[0.5, 1.5, 2.5], [-3.0, 254.5, 300.0]]] * 2, np.float32)
    monkeypatch.setattr(lanczos, "resize", lambda image, size: values)
    got = images.resize(noise(4), 2)[0]
    np.testing.assert_array_equal(got, [[0, 2, 2], [0, 254, 255]])


def test_resizing_keeps_what_is_of_the_right_size_and_constants() -> None:
    np.testing.assert_array_equal(images.resize(picture(224), 224), picture(224))
    assert (images.resize(np.full((256, 256, 3), 77, np.uint8), 224) == 77).all()


@pytest.mark.parametrize("size", [224, 56])
def test_crop_reads_the_middle_by_its_formula(size: int) -> None:
    side = np.sqrt(0.9)
    places = (1 - side) / 2 * (size - 1) + np.arange(size) * side
    grid = np.meshgrid(places, places, indexing="ij")
    for image in (picture(size), noise(size)):
        channels = [map_coordinates(image[..., i] / 255, grid, order=1) for i in range(3)]
        # Stored again by rounding down after half a level is added to the scale.
        expected = np.floor(np.minimum(np.stack(channels, axis=-1) * 255.5, 255)).astype(int)
        apart = np.abs(images.centre_crop(image) - expected)
        assert apart.max() <= 1
        assert (apart > 0).mean() < 1e-3


def test_crop_keeps_constants() -> None:
    for level in (0, 1, 77, 254, 255):
        flat = np.full((224, 224, 3), level, np.uint8)
        np.testing.assert_array_equal(images.centre_crop(flat), flat)


def test_each_tower_has_its_normalisation() -> None:
    pixels = images.normalize(tiles(8))
    plain = tiles(8) / 255
    dino = (plain - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    expected = np.concatenate([dino, plain * 2 - 1], axis=-1)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, expected, atol=1e-6)
    black = images.normalize(np.zeros((2, 2, 3), np.uint8))[0, 0]
    worked = [-2.1179039, -2.0357143, -1.8044444, -1, -1, -1]
    np.testing.assert_allclose(black, worked, rtol=1e-6)


@needs_decoder
def test_whole_path_is_its_steps_in_order() -> None:
    decoded = images.jpeg_round_trip(tiles())
    expected = images.normalize(images.centre_crop(images.resize(decoded, 224)))
    np.testing.assert_array_equal(images.prepare(tiles(), 224), expected)
    np.testing.assert_array_equal(images.prepare(decoded, 224, jpeg=False), expected)
    assert (images.prepare(decoded, 224) != expected).any()


def test_a_missing_decoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = r'simplejpeg, .* pip install "rfsq-jax\[openvla\]"'
    with pytest.raises(jpeg.DecoderMissingError, match=message):
        images.prepare(tiles(), 224)
    assert images.prepare(tiles(), 224, jpeg=False).shape == (224, 224, 6)
