"""Images of an episode's frames: replayed in the simulator, or read from a file.

Axes: M frames · C cameras · H, W image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, UInt8
from scipy.spatial.transform import Rotation

from rfsq_jax.data.readers import jpeg
from rfsq_jax.data.readers.libero_hdf5 import read_frames as read_hdf5_frames
from rfsq_jax.data.readers.rlds import read_frames as read_record_frames
from rfsq_jax.features.frames import EpisodeFrames
from rfsq_jax.libero.demonstrations.demonstration import Demonstration
from rfsq_jax.libero.environment import POLICY_CAMERAS, Environment
from rfsq_jax.libero.tasks import get_task

# Replay is bit-exact on the machine that recorded; another processor may round differently.
STATE_TOLERANCE = 1e-3


class ReplayError(RuntimeError):
    """A replayed demonstration went elsewhere than the recorded one."""


def replay_images(
    demonstration: Demonstration,
    frames: Int[np.ndarray, " m"],
    image_size: int,
    report: Callable[[Any], None] = lambda value: None,
) -> UInt8[np.ndarray, "m c h w 3"]:
    """Plays what was executed and renders both cameras before the steps `frames`, no others.

    Called in a worker process, which keeps the simulator of its last task.

    Raises:
      ReplayError: if the robot is not where the demonstration says.
    """
    env = _environment(demonstration.suite, demonstration.task_index, image_size)
    wanted, images = set(frames.tolist()), []
    robot = env.reset(demonstration.start)
    for step in range(int(frames[-1]) + 1):
        if step in wanted:
            difference = _difference(robot.state, demonstration.state[step])
            if difference > STATE_TOLERANCE:
                raise ReplayError(
                    f"{demonstration.task_name}: at step {step} the replayed state is "
                    f"{difference:.1e} from the recorded one (at most {STATE_TOLERANCE}); was it "
                    "recorded by other versions?"
                )
            rendered = env.render()
            images.append(np.stack([rendered[camera] for camera in POLICY_CAMERAS]))
        robot = env.step(demonstration.executed[step])
    return np.stack(images)


def stored_images(
    chosen: EpisodeFrames, as_tensorflow: bool = False
) -> UInt8[np.ndarray, "m c h w 3"]:
    """Reads the frames' images from its HDF5 or TFRecord file.

    Args:
      chosen: frames of an episode with a file.
      as_tensorflow: whether JPEG is decoded as TensorFlow does, for backbones whose training did.

    Raises:
      ValueError: if the file is damaged, has not such images of both cameras, of one size, or
        holds no JPEG to decode.
    """
    assert chosen.source.file is not None
    path, index = chosen.source.file
    source = chosen.source.episode.source
    if ".tfrecord" in path.name:
        decode = jpeg.decode if as_tensorflow else jpeg.decode_any
        images = read_record_frames(path, index, chosen.frames, decode=decode)
    elif as_tensorflow:
        raise ValueError(f"{source} holds no JPEG files: backbone_options must be without jpeg")
    else:
        images = read_hdf5_frames(path, index, chosen.frames)
    if not all(camera in images for camera in POLICY_CAMERAS):
        raise ValueError(
            f"{source} must hold images of {', '.join(POLICY_CAMERAS)}, "
            f"got {', '.join(images) or 'none'}"
        )
    shapes = [images[camera].shape[1:] for camera in POLICY_CAMERAS]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{source} must hold images of one size, got {shapes[0]}, {shapes[1]}")
    return np.stack([images[camera] for camera in POLICY_CAMERAS], axis=1)


_last: tuple[tuple[str, int, int], Environment] | None = None


def _environment(suite: str, index: int, image_size: int) -> Environment:
    global _last
    key = (suite, index, image_size)
    if _last is None or _last[0] != key:
        close_environment()
        env = Environment(get_task(suite, index), cameras=POLICY_CAMERAS, image_size=image_size)
        _last = (key, env)
    return _last[1]


def close_environment() -> None:
    """Closes the simulator that `replay_images` keeps, if there is one."""
    global _last
    if _last is not None:
        _last[1].close()
        _last = None


def _difference(state: Float32[np.ndarray, " 8"], other: Float32[np.ndarray, " 8"]) -> float:
    """The greatest difference, in metres or radians; one rotation has several axis-angles."""
    moved = float(np.abs(np.delete(state - other, [3, 4, 5])).max())
    turned = Rotation.from_rotvec(state[3:6]).inv() * Rotation.from_rotvec(other[3:6])
    return max(moved, float(turned.magnitude()))
