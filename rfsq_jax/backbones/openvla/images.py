"""Pictures as OpenVLA was evaluated with on LIBERO: the camera's uint8 to normalised pixels.

Axes: H, W image · R resolution of the model.
"""

from __future__ import annotations

import importlib
import io

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from rfsq_jax.backbones.openvla.config import HALVES, IMAGENET

QUALITY = 95
CROP_AREA = 0.9


def prepare(image: UInt8[np.ndarray, "h w 3"], size: int) -> Float[np.ndarray, "r r 6"]:
    """A picture the right way up -> DINO's three channels, then SigLIP's.

    Raises:
      ModuleNotFoundError: if simplejpeg, whose fast decoder is TensorFlow's, is not installed.
    """
    return normalize(centre_crop(resize(jpeg_round_trip(image), size)))


def rotate(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The simulator's picture turned by half a turn, as the models saw it in training."""
    return image[::-1, ::-1]


def jpeg_round_trip(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Through JPEG as in training: PIL encodes as TensorFlow does, but decodes otherwise."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY, subsampling="4:2:0")
    # Looked up late: only this step needs it.
    decoder = importlib.import_module("simplejpeg")
    return decoder.decode_jpeg(buffer.getvalue(), "RGB", fastdct=True, fastupsample=False)


def resize(image: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "r r 3"]:
    """Lanczos with antialiasing, rounded half to even."""
    if image.shape[:2] == (size, size):
        return image
    pixels = jnp.asarray(image, jnp.float32)
    resized = jax.image.resize(pixels, (size, size, 3), "lanczos3", antialias=True)
    return np.clip(np.round(np.asarray(resized)), 0, 255).astype(np.uint8)


def centre_crop(image: UInt8[np.ndarray, "r r 3"]) -> UInt8[np.ndarray, "r r 3"]:
    """The middle 90 % of the area, stretched back to the whole by corner-aligned bilinear."""
    size = len(image)
    side = np.float32(np.sqrt(CROP_AREA))
    # Of both axes: the picture is square.
    places = (1 - side) / 2 * (size - 1) + np.arange(size, dtype=np.float32) * side
    low, high = np.floor(places).astype(int), np.ceil(places).astype(int)
    share = (places - low).astype(np.float32)
    pixels = image.astype(np.float32) / np.float32(255)
    rows = pixels[low] + (pixels[high] - pixels[low]) * share[:, None, None]
    cropped = rows[:, low] + (rows[:, high] - rows[:, low]) * share[None, :, None]
    return np.minimum(np.clip(cropped, 0, 1) * np.float32(255.5), 255).astype(np.uint8)


def normalize(image: UInt8[np.ndarray, "r r 3"]) -> Float[np.ndarray, "r r 6"]:
    """[0, 1] by the means and deviations of DINO and of SigLIP."""
    pixels = image.astype(np.float32) / np.float32(255)
    means, deviations = np.asarray((IMAGENET, HALVES), np.float32).swapaxes(0, 1).reshape(2, 6)
    return (np.concatenate([pixels, pixels], axis=-1) - means) / deviations
