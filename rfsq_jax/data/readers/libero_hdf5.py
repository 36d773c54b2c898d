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

import h5py
import numpy as np
from jaxtyping import Float32, Int, UInt8

from rfsq_jax.data.episodes import Episode

IMAGE_KEYS = {"agentview": "agentview_rgb", "robot0_eye_in_hand": "eye_in_hand_rgb"}
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
        instruction = _instruction(data, path)
        return [
            _read_episode(group, instruction, f"{path.name}/{name}", images)
            for name, group in demo_groups(data, path)
        ]


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
        name, group = list(demo_groups(data, path))[place]
        try:
            return _read_images(_group(group, "obs"), frames)
        except IndexError as error:
            raise ValueError(
                f"{path.name}/{name} must have images of all steps: {error}"
            ) from error


@contextlib.contextmanager
def open_demonstrations(path: Path) -> Iterator[h5py.Group]:
    """Yields the group "data"; whatever HDF5 says of a damaged file becomes a ValueError."""
    if not path.is_file():
        raise FileNotFoundError(f"no HDF5 file at {path}")
    try:
        with h5py.File(path, "r") as file:
            yield _group(file, "data")
    except (OSError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged or not laid out like LIBERO's demonstrations: {error}"
        ) from error


def demo_groups(data: h5py.Group, path: Path) -> Iterator[tuple[str, h5py.Group]]:
    """Yields name and group of every demonstration, in the order of their numbers."""
    names = [str(name) for name in data if str(name).startswith("demo_")]
    if not names:
        raise ValueError(f"{path} must hold groups data/demo_<number>, got none")
    for name in sorted(names, key=lambda name: int(name.removeprefix("demo_"))):
        yield name, _group(data, name)


def read_array(parent: h5py.Group, name: str, rows: Any = ()) -> np.ndarray:
    """Returns these rows of an array, all by default."""
    item = parent[name]
    if not isinstance(item, h5py.Dataset):
        raise ValueError(f"{parent.file.filename}: {parent.name}/{name} must be an array")
    return item[rows]


def _group(parent: h5py.Group, name: str) -> h5py.Group:
    item = parent[name]
    if not isinstance(item, h5py.Group):
        raise ValueError(f"{parent.file.filename}: {parent.name}/{name} must be a group")
    return item


def _instruction(data: h5py.Group, path: Path) -> str:
    """Ours is an attribute; for original files the benchmark takes it from the file's name."""
    if "instruction" in data.attrs:
        return str(data.attrs["instruction"])
    words = SCENE_PREFIX.sub("", path.stem.removesuffix("_demo"))
    return words.replace("_", " ")


def _read_episode(group: h5py.Group, instruction: str, source: str, images: bool) -> Episode:
    actions = read_array(group, "actions").astype(np.float32)
    found = _read_images(_group(group, "obs")) if images else {}
    return Episode(actions, _read_state(group), instruction, source, found or None)


def _read_state(group: h5py.Group) -> Float32[np.ndarray, "n 8"]:
    if "policy_states" in group:
        return read_array(group, "policy_states")
    sensors = [read_array(group, "obs/ee_states"), read_array(group, "obs/gripper_states")]
    return np.concatenate(sensors, axis=1).astype(np.float32)


def _read_images(
    observations: h5py.Group, frames: Any = ()
) -> dict[str, UInt8[np.ndarray, "n h w 3"]]:
    return {
        camera: np.ascontiguousarray(read_array(observations, key, frames)[:, ::-1, ::-1])
        for camera, key in IMAGE_KEYS.items()
        if key in observations
    }
