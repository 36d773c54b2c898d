"""JPEG as TensorFlow writes and reads it, which OpenVLA's data went through; PNG as PIL reads it.

PIL decodes JPEG otherwise: its exact transform gives pixels that are a grey level away on average.

Axes: H, W image.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import struct
import zlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image, JpegImagePlugin, PngImagePlugin

from rfsq_jax.runs.checks import NotInstalledError

QUALITY = 95
DENSITY = (300, 300)
"""What TensorFlow writes into its files; it changes no pixel."""
DECODER = "simplejpeg"
MAX_PIXELS = 2**24
"""4096 x 4096, far more than a robot's camera gives; what a file declares is checked first."""
FORMATS = {
    b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImagePlugin.PngImageFile,
}
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What PIL raises for damaged files."""


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
      ValueError: if the file is damaged, no JPEG, or larger than `MAX_PIXELS`.
    """
    require_decoder()
    decoder = importlib.import_module(DECODER)
    height, width, *_ = decoder.decode_jpeg_header(file)
    _check_size(width, height)
    return decoder.decode_jpeg(file, "RGB", fastdct=True, fastupsample=False)


def decode_any(file: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels that PIL reads, of a JPEG or PNG file.

    Raises:
      ValueError: if the file is damaged, of another format, or larger than `MAX_PIXELS`.
    """
    opener = next((each for start, each in FORMATS.items() if file.startswith(start)), None)
    if opener is None:
        raise ValueError(f"it must be a JPEG or PNG file, got one that begins with {file[:8]!r}")
    try:
        # Image.open would warn of large sizes, or try other formats.
        with opener(io.BytesIO(file)) as opened:
            _check_size(*opened.size)
            # A palette's would be warned of; policies see no transparency.
            opened.info.pop("transparency", None)
            return np.asarray(opened.convert("RGB"))
    except _DAMAGE as error:
        raise ValueError(f"it is damaged: {error}") from error


def _check_size(width: int, height: int) -> None:
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f"it must have 1 to {MAX_PIXELS} pixels, got {width} x {height}")
