"""Pictures of a clip's frames: replayed in the simulator, or read from a file.

Axes: M frames · C cameras · H, W image.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from rfsq_jax.data.hdf5 import read_hdf5
from rfsq_jax.features.clips import Clip
from rfsq_jax.libero.demonstration import Demonstration
from rfsq_jax.libero.environment import POLICY_CAMERAS, Environment
from rfsq_jax.libero.tasks import get_task

# Replay is bit-exact on the machine that recorded; another processor may round differently.
STATE_TOLERANCE = 1e-3


class ReplayError(RuntimeError):
    """A replayed demonstration went elsewhere than the recorded one."""


def replay_pictures(
    demonstration: Demonstration, frames: Int[np.ndarray, " m"], image_size: int
) -> UInt8[np.ndarray, "m c h w 3"]:
    """Plays what was executed and draws both cameras before the steps `frames`, no others.

    Called in a worker process, which keeps the simulator of its last task.

    Raises:
      ReplayError: if the robot is not where the demonstration says.
    """
    env = _environment(demonstration.suite, demonstration.task_index, image_size)
    wanted, pictures = set(frames.tolist()), []
    observation = env.reset(demonstration.start)
    for step in range(int(frames[-1]) + 1):
        if step in wanted:
            _check(demonstration, step, observation.state)
            drawn = env.render()
            pictures.append(np.stack([drawn[camera] for camera in POLICY_CAMERAS]))
        observation = env.step(demonstration.executed[step])
    return np.stack(pictures)


def stored_pictures(clip: Clip) -> UInt8[np.ndarray, "m c h w 3"]:
    """Reads the clip's pictures from its HDF5 file.

    Raises:
      ValueError: if the episode has no pictures of both cameras.
    """
    assert clip.recording.file is not None
    path, place = clip.recording.file
    episode = _episodes(path)[place]
    images = episode.images or {}
    if not all(camera in images for camera in POLICY_CAMERAS):
        raise ValueError(
            f"{episode.source} must hold pictures of {', '.join(POLICY_CAMERAS)}, "
            f"got {', '.join(images) or 'none'}"
        )
    return np.stack([images[camera][clip.frames] for camera in POLICY_CAMERAS], axis=1)


@functools.lru_cache(maxsize=1)
def _episodes(path: Path) -> list:
    return read_hdf5(path, images=True)


_last: tuple[tuple[str, int, int], Environment] | None = None


def _environment(suite: str, index: int, image_size: int) -> Environment:
    global _last
    key = (suite, index, image_size)
    if _last is None or _last[0] != key:
        if _last is not None:
            _last[1].close()
        env = Environment(get_task(suite, index), cameras=POLICY_CAMERAS, image_size=image_size)
        _last = (key, env)
    return _last[1]


def _check(demonstration: Demonstration, step: int, state: np.ndarray) -> None:
    difference = float(np.abs(state - demonstration.state[step]).max())
    if difference > STATE_TOLERANCE:
        raise ReplayError(
            f"{demonstration.task_name}: at step {step} the replayed state is {difference:.1e} "
            f"from the recorded one (at most {STATE_TOLERANCE}); was it recorded by other versions?"
        )
