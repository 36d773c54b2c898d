"""Pictures that declare too much, are of other formats, or are damaged."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from rfsq_jax.data.readers import jpeg
from tests.support.rlds_folders import encode_picture

PICTURE = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)


def png_of(width: int, height: int) -> bytes:
    """A PNG that declares any size, and holds few bytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(10_000))
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG whose header declares another size."""
    file = bytearray(jpeg.encode(PICTURE))
    at = file.index(b"\xff\xc0") + 5
    file[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(file)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1"])
def test_png_of_any_kind_is_read_as_pil_does(mode):
    stream = io.BytesIO()
    image = PIL.Image.fromarray(PICTURE).convert(mode)
    image.save(stream, "PNG")
    np.testing.assert_array_equal(jpeg.decode_any(stream.getvalue()), image.convert("RGB"))


@pytest.mark.parametrize("size", [(5000, 5000), (12_000, 12_000), (65_500, 65_500)], ids=str)
@pytest.mark.parametrize("make", [png_of, jpeg_of])
def test_a_picture_that_declares_too_much_is_refused(make, size):
    message = rf"must have 1 to \d+ pixels, got {size[0]} x {size[1]}"
    with pytest.raises(ValueError, match=message):
        jpeg.decode_any(make(*size))


@pytest.mark.parametrize("size", [(5000, 5000), (65_500, 65_500)], ids=str)
def test_so_it_is_where_jpeg_is_decoded_as_tensorflow_does(size):
    pytest.importorskip("simplejpeg")
    with pytest.raises(ValueError, match=rf"pixels, got {size[0]} x {size[1]}"):
        jpeg.decode(jpeg_of(*size))


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_other_formats_are_refused(form):
    with pytest.raises(ValueError, match="must be a JPEG or PNG file, got one that begins"):
        jpeg.decode_any(encode_picture(PICTURE, form))


@pytest.mark.parametrize("decode", [jpeg.decode_any, jpeg.decode])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_any_damage_is_a_value_error(decode, form):
    if decode is jpeg.decode:
        pytest.importorskip("simplejpeg")
    whole, numbers, refused = encode_picture(PICTURE, form), random.Random(0), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(numbers.choice([1, 3, 10])):
            damaged[numbers.randrange(len(damaged))] = numbers.randrange(256)
        kept = numbers.choice([len(damaged), numbers.randrange(len(damaged))])
        try:
            decode(bytes(damaged[:kept]))
        except ValueError:
            refused += 1
    assert refused
