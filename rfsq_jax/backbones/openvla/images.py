"""Pictures as OpenVLA was evaluated with on LIBERO: the camera's uint8 to normalised pixels.

Each step does TensorFlow's arithmetic. On 120 random pictures of 256 x 256, TensorFlow 2.21 made
the same JPEG files, decoded pixels and crops bit by bit; resized to 224, one number in a million
was one level off, where the C library's sine is not rounded as ours. The tests hold digests of what
TensorFlow made of one picture, where all steps agree.

Axes: H, W image · R resolution of the model.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from rfsq_jax.backbones.openvla import lanczos
from rfsq_jax.backbones.openvla.config import HALVES, IMAGENET
from rfsq_jax.data.readers.jpeg import decode, encode

CROP_AREA = 0.9


def prepare(
    image: UInt8[np.ndarray, "h w 3"], size: int, jpeg: bool = True
) -> Float[np.ndarray, "r r 6"]:
    """A picture the right way up -> DINO's three channels, then SigLIP's.

    Args:
      image: the camera's, or out of a JPEG file by `data.jpeg.decode`.
      size: resolution R of the model.
      jpeg: whether it goes through JPEG first, as all pictures in training did once; False for one
        that comes out of a JPEG file.

    Raises:
      DecoderMissingError: if simplejpeg is needed and not installed.
    """
    seen = jpeg_round_trip(image) if jpeg else image
    return normalize(centre_crop(resize(seen, size)))


def rotate(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The simulator's picture turned by half a turn, as the models saw it in training."""
    return image[::-1, ::-1]


def jpeg_round_trip(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Through a JPEG file and back, as every picture in training was.

    Raises:
      DecoderMissingError: if simplejpeg is not installed.
    """
    return decode(encode(image))


def resize(image: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "r r 3"]:
    """Lanczos with antialiasing, rounded half to even."""
    if image.shape[:2] == (size, size):
        return image
    return np.clip(np.round(lanczos.resize(image, size)), 0, 255).astype(np.uint8)


def centre_crop(image: UInt8[np.ndarray, "r r 3"]) -> UInt8[np.ndarray, "r r 3"]:
    """The middle 90 % of the area, stretched back to the whole by corner-aligned bilinear."""
    last = np.float32(len(image) - 1)
    side = np.sqrt(np.float32(CROP_AREA))
    offset = (1 - side) / 2
    # As TensorFlow rounds it: the crop is given by its corners.
    step = (offset + side - offset) * last / last
    places = offset * last + np.arange(len(image), dtype=np.float32) * step
    low, high = np.floor(places).astype(int), np.ceil(places).astype(int)
    share = places - np.floor(places)
    pixels = image.astype(np.float32) * np.float32(1 / 255)
    # Of both axes: the picture is square. Columns first.
    columns = pixels[:, low] + (pixels[:, high] - pixels[:, low]) * share[None, :, None]
    cropped = columns[low] + (columns[high] - columns[low]) * share[:, None, None]
    return np.minimum(np.clip(cropped, 0, 1) * np.float32(255.5), 255).astype(np.uint8)


def normalize(image: UInt8[np.ndarray, "r r 3"]) -> Float[np.ndarray, "r r 6"]:
    """[0, 1] by the means and deviations of DINO and of SigLIP."""
    pixels = image.astype(np.float32) / np.float32(255)
    means, deviations = np.asarray((IMAGENET, HALVES), np.float32).swapaxes(0, 1).reshape(2, 6)
    return (np.concatenate([pixels, pixels], axis=-1) - means) / deviations
