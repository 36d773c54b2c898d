"""LIBERO's HDF5 demonstrations: reads the original files and ours, writes the same layout.

Original files hold float64 actions and sensors; `Episode` holds float32, whose rounding is 30,000
times finer than a SpaceMouse count. Images are stored as OpenGL gives them, upside down, and
turned by 180 degrees on reading: what policies see. The gripper is -1 open, +1 close throughout.

Axes: N steps · S flattened simulator state · H, W image.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float32, Int, UInt8

from rfsq_jax.data.episodes import Episode
from rfsq_jax.libero.demonstrations.demonstration import Demonstration, Trace
from rfsq_jax.libero.sensors import axis_angle_from_quaternion
from rfsq_jax.libero.start import Start
from rfsq_jax.runs.files import atomic_path

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
    with _opened(path) as data:
        instruction = _instruction(data, path)
        return [
            _read_episode(group, instruction, f"{path.name}/{name}", images)
            for name, group in _demo_groups(data, path)
        ]


def read_frames(
    path: Path, index: int, frames: Int[np.ndarray, " m"]
) -> dict[str, UInt8[np.ndarray, "m h w 3"]]:
    """Reads these steps' images of the demonstration number `index`, by camera, and no others.

    Args:
      path: as for `read_hdf5`.
      index: counted from 0 in the order in which `read_hdf5` returns them.
      frames: ascending steps.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is damaged or has no such steps.
    """
    path = Path(path)
    with _opened(path) as data:
        name, group = list(_demo_groups(data, path))[index]
        try:
            return _read_images(_group(group, "obs"), frames)
        except IndexError as error:
            raise ValueError(
                f"{path.name}/{name} must have images of all steps: {error}"
            ) from error


def read_demonstrations(path: Path) -> list[Demonstration]:
    """Reads a file of ours with starts and executed actions, without images, ready for `replay`.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is damaged, or is not one of ours.
    """
    path = Path(path)
    with _opened(path) as data:
        if "suite" not in data.attrs:
            raise ValueError(f"{path} must be written by train.demos to be replayed; it is not")
        return [_read_demonstration(data, group) for _, group in _demo_groups(data, path)]


def write_hdf5(path: Path, demonstrations: Sequence[Demonstration]) -> None:
    """Writes demonstrations of one task, whole or not at all.

    Raises:
      ValueError: if there are none, they are of several tasks, or one lacks its trace.
    """
    tasks = {(each.suite, each.task_index) for each in demonstrations}
    if len(tasks) != 1:
        raise ValueError(f"a file must hold one task, got {sorted(tasks) or 'no demonstrations'}")
    with atomic_path(Path(path)) as temporary, h5py.File(temporary, "w") as file:
        data = file.create_group("data")
        _write_attributes(data, demonstrations)
        for number, demonstration in enumerate(demonstrations):
            _write_demonstration(data.create_group(f"demo_{number}"), demonstration)


def merge_hdf5(path: Path, parts: Sequence[Path], *, attempts: int) -> None:
    """Joins files of one task into one, whole or not at all.

    Args:
      path: the file to write.
      parts: files that `write_hdf5` wrote, in the order wanted.
      attempts: how many episodes were tried for these, kept as an attribute.

    Raises:
      ValueError: if there are no parts, or one of them is damaged.
    """
    if not parts:
        raise ValueError(f"{path}: at least one part is needed, got none")
    with atomic_path(Path(path)) as temporary, h5py.File(temporary, "w") as file:
        data = file.create_group("data")
        total = 0
        for part in parts:
            with _opened(part) as source:
                data.attrs.update(source.attrs)
                for _, group in _demo_groups(source, part):
                    total += int(np.asarray(group.attrs["num_samples"]))
                    source.copy(group, data, name=f"demo_{len(data)}")
        data.attrs.update(num_demos=len(data), total=total, attempts=attempts)


def read_attempts(path: Path) -> int:
    """Returns how many episodes were tried for a file that `merge_hdf5` wrote."""
    with _opened(Path(path)) as data:
        return int(np.asarray(data.attrs["attempts"]))


def _write_attributes(data: h5py.Group, demonstrations: Sequence[Demonstration]) -> None:
    first = demonstrations[0]
    words = {"problem_name": first.suite, "language_instruction": first.instruction}
    data.attrs.update(
        env_name=first.suite,
        problem_info=json.dumps(words),
        bddl_file_name=f"{first.task_name}.bddl",
        macros_image_convention="opengl",
        num_demos=len(demonstrations),
        total=sum(len(each) for each in demonstrations),
        suite=first.suite,
        task_index=first.task_index,
        task_name=first.task_name,
        instruction=first.instruction,
    )


def _write_demonstration(group: h5py.Group, demonstration: Demonstration) -> None:
    trace = demonstration.trace
    if trace is None:
        raise ValueError(f"demonstration {demonstration.episode.source} must have its trace")
    group.attrs.update(
        num_samples=len(demonstration),
        init_state=trace.simulator_states[0],
        start_state=demonstration.start.state,
        final_state=demonstration.final_state,
        fixtures=demonstration.start.fixtures,
        seed=demonstration.start.seed,
        handover=demonstration.handover,
    )
    last = np.zeros(len(demonstration), np.uint8)
    last[-1] = 1
    arrays = {
        "actions": demonstration.actions.astype(np.float64),
        "executed_actions": demonstration.executed.astype(np.float64),
        "policy_states": demonstration.state,
        "states": trace.simulator_states,
        "robot_states": trace.robot_states,
        "rewards": last,
        "dones": last,
        **{f"obs/{name}": values for name, values in _observations(trace).items()},
    }
    for name, values in arrays.items():
        group.create_dataset(name, data=values)
    for camera, images in trace.images.items():
        name, one = f"obs/{IMAGE_KEYS[camera]}", (1, *images.shape[1:])
        group.create_dataset(name, data=images[:, ::-1, ::-1], chunks=one, compression="gzip")


def _observations(trace: Trace) -> dict[str, np.ndarray]:
    fingers, position = trace.robot_states[:, :2], trace.robot_states[:, 2:5]
    turn = np.stack([axis_angle_from_quaternion(each) for each in trace.robot_states[:, 5:]])
    return {
        "ee_pos": position,
        "ee_ori": turn,
        "ee_states": np.concatenate([position, turn], axis=1),
        "gripper_states": fingers,
        "joint_states": trace.joint_states,
    }


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[h5py.Group]:
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


def _group(parent: h5py.Group, name: str) -> h5py.Group:
    item = parent[name]
    if not isinstance(item, h5py.Group):
        raise ValueError(f"{parent.file.filename}: {parent.name}/{name} must be a group")
    return item


def _array(parent: h5py.Group, name: str, rows: Any = ()) -> np.ndarray:
    item = parent[name]
    if not isinstance(item, h5py.Dataset):
        raise ValueError(f"{parent.file.filename}: {parent.name}/{name} must be an array")
    return item[rows]


def _demo_groups(data: h5py.Group, path: Path) -> Iterator[tuple[str, h5py.Group]]:
    names = [str(name) for name in data if str(name).startswith("demo_")]
    if not names:
        raise ValueError(f"{path} must hold groups data/demo_<number>, got none")
    for name in sorted(names, key=lambda name: int(name.removeprefix("demo_"))):
        yield name, _group(data, name)


def _instruction(data: h5py.Group, path: Path) -> str:
    """Ours is an attribute; for original files the benchmark takes it from the file's name."""
    if "instruction" in data.attrs:
        return str(data.attrs["instruction"])
    words = SCENE_PREFIX.sub("", path.stem.removesuffix("_demo"))
    return words.replace("_", " ")


def _read_episode(group: h5py.Group, instruction: str, source: str, images: bool) -> Episode:
    actions = _array(group, "actions").astype(np.float32)
    views = _read_images(_group(group, "obs")) if images else {}
    return Episode(actions, _read_state(group), instruction, source, views or None)


def _read_state(group: h5py.Group) -> Float32[np.ndarray, "n 8"]:
    if "policy_states" in group:
        return _array(group, "policy_states")
    sensors = [_array(group, "obs/ee_states"), _array(group, "obs/gripper_states")]
    return np.concatenate(sensors, axis=1).astype(np.float32)


def _read_images(
    observations: h5py.Group, frames: Any = ()
) -> dict[str, UInt8[np.ndarray, "n h w 3"]]:
    return {
        camera: np.ascontiguousarray(_array(observations, key, frames)[:, ::-1, ::-1])
        for camera, key in IMAGE_KEYS.items()
        if key in observations
    }


def _read_demonstration(data: h5py.Group, group: h5py.Group) -> Demonstration:
    attributes = {name: np.asarray(value) for name, value in group.attrs.items()}
    return Demonstration(
        suite=str(data.attrs["suite"]),
        task_index=int(np.asarray(data.attrs["task_index"])),
        task_name=str(data.attrs["task_name"]),
        instruction=str(data.attrs["instruction"]),
        start=Start(attributes["start_state"], attributes["fixtures"], int(attributes["seed"])),
        actions=_array(group, "actions").astype(np.float32),
        executed=_array(group, "executed_actions").astype(np.float32),
        state=_array(group, "policy_states"),
        final_state=attributes["final_state"],
        # Files of the first version have none: there the expert did everything.
        handover=int(attributes.get("handover", np.zeros((), int))),
    )
