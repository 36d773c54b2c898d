"""Videos and filmstrips of episodes.

Axes: C cameras · H, W image.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from rfsq_jax.runs.files import atomic_path

STEPS_PER_SECOND = 20
FRAME_EVERY = 2
"""Steps between frames of a video; it plays in real time."""

CODEC = "vp09"
"""VP9, which browsers play and OpenCV's wheels can write; they have no H.264."""

STRIP_FRAMES, STRIP_SIZE = 8, 128


def write_video(path: Path, frames: Sequence[UInt8[np.ndarray, "c h w 3"]]) -> None:
    """Writes an MP4 with all cameras side by side; whole or absent.

    Raises:
      RuntimeError: if OpenCV cannot write it.
    """
    import cv2

    height, width = frames[0].shape[1], frames[0].shape[0] * frames[0].shape[2]
    code = cv2.VideoWriter.fourcc(*CODEC)
    with atomic_path(path) as temporary:
        # The encoder knows the format by the ending.
        draft = temporary.with_name(f"{temporary.name}{path.suffix}")
        rate = STEPS_PER_SECOND / FRAME_EVERY
        with _silent_stderr():
            writer = cv2.VideoWriter(str(draft), cv2.CAP_FFMPEG, code, rate, (width, height))
        if not writer.isOpened():
            raise RuntimeError(f"OpenCV cannot write {CODEC} video to {path}")
        for frame in frames:
            writer.write(np.ascontiguousarray(np.concatenate(list(frame), axis=1)[..., ::-1]))
        writer.release()
        draft.replace(temporary)


def write_filmstrip(path: Path, frames: Sequence[UInt8[np.ndarray, "c h w 3"]]) -> None:
    """Writes a few moments of the first camera, evenly spaced, side by side, as a JPEG."""
    places = np.linspace(0, len(frames) - 1, min(STRIP_FRAMES, len(frames))).round().astype(int)
    images = [
        Image.fromarray(frames[place][0]).resize((STRIP_SIZE, STRIP_SIZE)) for place in places
    ]
    strip = Image.new("RGB", (STRIP_SIZE * len(images), STRIP_SIZE))
    for index, image in enumerate(images):
        strip.paste(image, (index * STRIP_SIZE, 0))
    with atomic_path(path) as temporary:
        strip.save(temporary, "JPEG", quality=85)


@contextlib.contextmanager
def _silent_stderr():
    """OpenCV's FFmpeg remarks on the codec's tag, which it then uses."""
    saved, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nothing)
