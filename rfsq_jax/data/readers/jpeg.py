"""JPEG as TensorFlow writes and reads it, which OpenVLA's data went through.

PIL decodes otherwise: its exact transform gives pixels that are a grey level away on average.

Axes: H, W image.
"""

from __future__ import annotations

import importlib
import importlib.util
import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from rfsq_jax.runs.checks import NotInstalledError

QUALITY = 95
DENSITY = (300, 300)
"""What TensorFlow writes into its files; it changes no pixel."""
DECODER = "simplejpeg"


class DecoderMissingError(NotInstalledError):
    """The package that decodes JPEG as TensorFlow does is not installed."""


def require_decoder() -> None:
    """Raises a DecoderMissingError if `decode` could not run."""
    if importlib.util.find_spec(DECODER) is None:
        raise DecoderMissingError(
            f"OpenVLA's images go through {DECODER}, which decodes JPEG as in its training; "
            'install it with: pip install "rfsq-jax[openvla]"'
        )


def encode(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """The file that TensorFlow makes of an image by default, byte by byte."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY, subsampling="4:2:0", dpi=DENSITY)
    return buffer.getvalue()


def decode(file: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels that TensorFlow reads by default, bit by bit.

    Raises:
      DecoderMissingError: if simplejpeg is not installed.
      ValueError: if the file is damaged.
    """
    require_decoder()
    decoder = importlib.import_module(DECODER)
    return decoder.decode_jpeg(file, "RGB", fastdct=True, fastupsample=False)


def decode_any(file: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels that PIL reads, of an image of any format.

    Raises:
      OSError: if the file is damaged.
    """
    with Image.open(io.BytesIO(file)) as opened:
        return np.asarray(opened.convert("RGB"))
