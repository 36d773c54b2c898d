"""Our demonstrations in LIBERO's HDF5 layout: written, merged, and read back for replay.

Conventions are those of `data.readers.libero_hdf5`, which reads these files as training data.

Axes: N steps · S flattened simulator state · H, W image.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from rfsq_jax.data.episodes import ACTION_DIM, STATE_DIM, check_steps
from rfsq_jax.data.readers.hdf5_copy import copy_group
from rfsq_jax.data.readers.hdf5_files import StoredGroup
from rfsq_jax.data.readers.hdf5_hash import HASH, SIGNED_SINCE, content_hash, require_hash
from rfsq_jax.data.readers.libero_hdf5 import IMAGE_KEYS, demo_groups, open_demonstrations
from rfsq_jax.libero.demonstrations.demonstration import Demonstration, Trace
from rfsq_jax.libero.sensors import axis_angle_from_quaternion
from rfsq_jax.libero.tasks import Start
from rfsq_jax.runs.files import atomic_path


def read_demonstrations(path: Path) -> list[Demonstration]:
    """Reads a file of ours with starts and executed actions, without images, ready for `replay`.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is damaged, or is not one of ours.
    """
    path = Path(path)
    with open_demonstrations(path) as data:
        if not data.has_attribute("suite"):
            raise ValueError(f"{path} must be written by train.demos to be replayed; it is not")
        return [_read_demonstration(data, group) for group in demo_groups(data)]


def write_hdf5(path: Path, demonstrations: Sequence[Demonstration]) -> None:
    """Writes demonstrations of one task, whole or not at all.

    Raises:
      ValueError: if there are none, they are of several tasks, or one lacks its trace.
    """
    tasks = {(each.suite, each.task_index) for each in demonstrations}
    if len(tasks) != 1:
        raise ValueError(f"a file must hold one task, got {sorted(tasks) or 'no demonstrations'}")
    with atomic_path(Path(path)) as temporary:
        with h5py.File(temporary, "w") as file:
            data = file.create_group("data")
            _write_attributes(data, demonstrations)
            for number, demonstration in enumerate(demonstrations):
                _write_demonstration(data.create_group(f"demo_{number}"), demonstration)
        _write_hashes(temporary)


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
            with open_demonstrations(part) as source:
                data.attrs.update(source.attributes())
                for group in demo_groups(source):
                    require_hash(source, group)
                    total += group.number("num_samples")
                    copy_group(group, data.create_group(f"demo_{len(data)}"))
        data.attrs.update(num_demos=len(data), total=total, attempts=attempts)


def read_attempts(path: Path) -> int:
    """Returns how many episodes were tried for a file that `merge_hdf5` wrote.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged, or does not say.
    """
    with open_demonstrations(Path(path)) as data:
        return data.number("attempts")


def _write_hashes(path: Path) -> None:
    with open_demonstrations(path) as data:
        hashes = {group.name: content_hash(data, group) for group in demo_groups(data)}
    with h5py.File(path, "r+") as file:
        for name, value in hashes.items():
            file[name].attrs[HASH] = value


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
        format_version=SIGNED_SINCE,
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
        turned = images[:, ::-1, ::-1]
        group.create_dataset(name, data=turned, chunks=one, compression="gzip", fletcher32=True)


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


def _read_demonstration(data: StoredGroup, group: StoredGroup) -> Demonstration:
    require_hash(data, group)
    actions = group.floats("actions", (None, ACTION_DIM))
    steps = len(actions)
    executed = group.floats("executed_actions", (steps, ACTION_DIM))
    check_steps("executed_actions", executed, f"{group.path}: {group.name}", ACTION_DIM)
    start_state = group.vector("start_state", (None,))
    fixtures = group.vector("fixtures", (None, 7))
    return Demonstration(
        suite=data.text("suite"),
        task_index=data.number("task_index"),
        task_name=data.text("task_name"),
        instruction=data.text("instruction"),
        start=Start(start_state, fixtures, group.number("seed")),
        actions=actions,
        executed=executed,
        state=group.floats("policy_states", (steps, STATE_DIM)),
        final_state=group.vector("final_state", start_state.shape),
        # Files of the first version have none: there the expert did everything.
        handover=group.number("handover") if group.has_attribute("handover") else 0,
    )
