"""LIBERO's HDF5 demonstrations: the original files, regenerated ones, and those of train.demos.

Conventions:
  gripper: -1 open, +1 close; kept.
  rotation: rotation vectors, of actions (per step) and of the state; kept.
  deltas: the environment's own, 1.0 = 0.05 m or 0.5 rad per step; kept.
  no-ops: original files have them and they stay; regenerated ones were filtered before.
  images: stored as OpenGL gives them, upside down; turned by 180 degrees, as policies see them.
Files hold float64, `Episode` float32, whose rounding is 30,000 times finer than a SpaceMouse count.

Axes: N steps · M frames wanted · H, W image.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, UInt8

from rfsq_jax.data.episodes import STATE_DIM, Episode
from rfsq_jax.data.readers.hdf5_files import StoredGroup, open_hdf5
from rfsq_jax.data.readers.hdf5_hash import require_hash

IMAGE_KEYS = {"agentview": "agentview_rgb", "robot0_eye_in_hand": "eye_in_hand_rgb"}
ACTIONS, IMAGES = (None, None), (None, None, None, 3)
DEMO = re.compile(r"demo_(0|[1-9][0-9]{0,8})")
SCENE_PREFIX = re.compile(r"^.*SCENE\d+_")


def read_hdf5(path: Path, *, images: bool = False) -> list[Episode]:
    """Reads every demonstration of a file, in the order of their numbers.

    Args:
      path: an original `<task>_demo.hdf5`, a regenerated one, or one from `train.demos`.
      images: whether to read the images too, if there are any.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is damaged, or is not laid out like LIBERO's.
    """
    path = Path(path)
    with open_demonstrations(path) as data:
        instruction = _instruction(data)
        groups = demo_groups(data)
        for each in groups:
            require_hash(data, each)
        return [_read_episode(each, instruction, images) for each in groups]


def read_frames(
    path: Path, place: int, frames: Int[np.ndarray, " m"]
) -> dict[str, UInt8[np.ndarray, "m h w 3"]]:
    """Reads these steps' images of the demonstration at `place`, by camera, and no others.

    Args:
      path: as for `read_hdf5`.
      place: counted from 0 in the order in which `read_hdf5` returns them.
      frames: ascending steps.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is damaged or has no such steps.
    """
    path = Path(path)
    with open_demonstrations(path) as data:
        groups = demo_groups(data)
        if not 0 <= place < len(groups):
            raise ValueError(f"{path} must have a demonstration {place}, got {len(groups)}")
        steps = groups[place].array_shape("actions", ACTIONS, "f")[0]
        if len(frames) and not (frames[0] >= 0 and frames[-1] < steps):
            got = f"{frames[0]}..{frames[-1]}"
            raise ValueError(f"{_source(groups[place])} must have steps {got}, got {steps} steps")
        return _read_images(groups[place], steps, frames)


@contextlib.contextmanager
def open_demonstrations(path: Path) -> Iterator[StoredGroup]:
    """Yields the group "data".

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is damaged or has no such group.
    """
    with open_hdf5(path) as file:
        yield file.group("data")


def demo_groups(data: StoredGroup) -> list[StoredGroup]:
    """Every demonstration, in the order of their numbers.

    Raises:
      ValueError: if there is none, or one has no number.
    """
    names = [name for name in data.names() if name.startswith("demo_")]
    strange = [name for name in names if not DEMO.fullmatch(name)]
    if strange or not names:
        got = strange[0] if strange else "none"
        raise ValueError(f"{data.path} must hold groups data/demo_<number>, got {got}")
    names.sort(key=lambda name: int(name.removeprefix("demo_")))
    return [data.group(name) for name in names]


def _source(group: StoredGroup) -> str:
    """What a demonstration is called in messages and splits."""
    return f"{group.path.name}/{group.name.removeprefix('data/')}"


def _instruction(data: StoredGroup) -> str:
    """Ours is an attribute; for original files the benchmark takes it from the file's name."""
    if data.has_attribute("instruction"):
        return data.text("instruction")
    words = SCENE_PREFIX.sub("", data.path.stem.removesuffix("_demo"))
    return words.replace("_", " ")


def _read_episode(group: StoredGroup, instruction: str, images: bool) -> Episode:
    actions = group.floats("actions", ACTIONS)
    found = _read_images(group, len(actions)) if images else {}
    return Episode(actions, _read_state(group), instruction, _source(group), found or None)


def _read_state(group: StoredGroup) -> Float32[np.ndarray, "n 8"]:
    if group.has("policy_states"):
        return group.floats("policy_states", (None, STATE_DIM))
    sensors = [
        group.floats("obs/ee_states", (None, 6)),
        group.floats("obs/gripper_states", (None, 2)),
    ]
    if len(sensors[0]) != len(sensors[1]):
        counts = " and ".join(str(len(each)) for each in sensors)
        raise ValueError(
            f"{_source(group)}: ee_states and gripper_states must have as many steps, got {counts}"
        )
    return np.concatenate(sensors, axis=1)


def _read_images(
    group: StoredGroup, steps: int, frames: Any = ()
) -> dict[str, UInt8[np.ndarray, "n h w 3"]]:
    observations, found = group.group("obs"), {}
    for camera, key in IMAGE_KEYS.items():
        if not observations.has(key):
            continue
        count = observations.array_shape(key, IMAGES, "u")[0]
        if count != steps:
            raise ValueError(
                f"{_source(group)} must have images of all steps, {steps}, got {count} in {key}"
            )
        images = observations.array(key, IMAGES, "u", frames)
        found[camera] = np.ascontiguousarray(images[:, ::-1, ::-1])
    return found
