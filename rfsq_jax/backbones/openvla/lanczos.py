"""TensorFlow's antialiased Lanczos resizing, in its order of float32 operations.

Sums of other orders differ by 1e-4, which is a grey level where a sum lies between two.

Axes: N pixels of an axis · M pixels after resizing · K taps of the kernel.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Float32, Int, UInt8

RADIUS = np.float32(3)
PI = np.float32(np.pi)
HALF = np.float32(0.5)


def resize(image: UInt8[np.ndarray, "n n2 3"], size: int) -> Float32[np.ndarray, "m m 3"]:
    """A picture -> a square one, first along its height; not yet rounded."""
    return _along_first(_along_first(image, size).swapaxes(0, 1), size).swapaxes(0, 1)


@functools.cache
def taps(size: int, wanted: int) -> tuple[Int[np.ndarray, "m k"], Float32[np.ndarray, "m k"]]:
    """For every pixel of the result, which pixels it is made of, and their weights."""
    step = 1 / (np.float32(wanted) / np.float32(size))
    stretch = np.maximum(step, np.float32(1))
    centres = (np.arange(wanted, dtype=np.float32) + HALF) * step
    reach = RADIUS * stretch
    first = np.maximum(np.ceil(centres - reach - HALF), 0).astype(int)
    last = np.minimum(np.floor(centres + reach - HALF), size - 1).astype(int)
    places = first[:, None] + np.arange((last - first).max() + 1)
    distances = (places.astype(np.float32) + HALF - centres[:, None]) * (1 / stretch)
    weights = np.where(places <= last[:, None], kernel(np.abs(distances)), np.float32(0))
    # One after the other: numpy's own sum pairs them.
    total = np.add.accumulate(weights, axis=1)[:, -1:]
    return np.minimum(places, size - 1), weights * (1 / total)


def kernel(x: Float32[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n"]:
    """Lanczos of three lobes, at x >= 0."""
    safe = np.maximum(x, np.float32(1e-3))
    value = RADIUS * _sine(PI * safe) * _sine(PI * safe / RADIUS) / (PI * PI * safe * safe)
    return np.where(x > RADIUS, np.float32(0), np.where(x <= np.float32(1e-3), 1, value))


def _sine(x: Float32[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n"]:
    """Rounded once; numpy's of float32 is less exact."""
    return np.sin(x.astype(np.float64)).astype(np.float32)


def _along_first(
    image: UInt8[np.ndarray, "n w 3"] | Float32[np.ndarray, "n w 3"], size: int
) -> Float32[np.ndarray, "m w 3"]:
    pixels = image.astype(np.float32)
    places, weights = taps(len(pixels), size)
    total = np.zeros((size, *pixels.shape[1:]), np.float32)
    for place, weight in zip(places.T, weights.T, strict=True):
        total += pixels[place] * weight[:, None, None]
    return total
