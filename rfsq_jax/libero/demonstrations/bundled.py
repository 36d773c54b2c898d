"""The demonstrations that ship with the package: one compressed npz per suite, no pickle.

Episodes lie one after the other in flat arrays and are cut apart by their lengths. Actions are
int16 counts on the SpaceMouse lattice; what was executed is stored as its difference from the
label, which is nearly always 0.

Axes: E episodes · N = all steps of all episodes.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import importlib.resources.abc
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from rfsq_jax.data.episodes import ACTION_DIM, STATE_DIM, Episode
from rfsq_jax.libero.demonstrations.demonstration import Demonstration
from rfsq_jax.libero.lattice import from_counts, to_counts
from rfsq_jax.libero.tasks import Start
from rfsq_jax.runs.arrays import read_npz
from rfsq_jax.runs.checks import DamagedError
from rfsq_jax.runs.files import atomic_path

FORMAT_VERSION = 2
"""The first had no hash; the bundles of the package are of it."""
HASH = "sha256"
COLUMNS: dict[str, tuple[type[np.generic], tuple[int | None, ...]]] = {
    "format_version": (np.int32, ()),
    "suite": (np.str_, ()),
    "task_index": (np.int32, (None,)),
    "task_name": (np.str_, (None,)),
    "instruction": (np.str_, (None,)),
    "seed": (np.int64, (None,)),
    "length": (np.int32, (None,)),
    "state_size": (np.int32, (None,)),
    "num_fixtures": (np.int32, (None,)),
    "actions": (np.int16, (None, ACTION_DIM)),
    "disturbance": (np.int16, (None, ACTION_DIM)),
    "state": (np.float32, (None, STATE_DIM)),
    "start_state": (np.float64, (None,)),
    "fixtures": (np.float64, (None, 7)),
    "final_state": (np.float64, (None,)),
}
"""Types and shapes of the arrays; None stands for any length."""


def load_bundled(suite: str) -> list[Episode]:
    """Returns the bundled demonstrations of `suite` as training data, grouped by task.

    Raises:
      ValueError: if none are bundled for it; the message lists the suites that are.
    """
    return [demonstration.episode for demonstration in load_demonstrations(suite)]


def load_demonstrations(suite: str) -> list[Demonstration]:
    """Returns the bundled demonstrations of `suite` with their starts, ready for `replay`.

    Raises:
      ValueError: if none are bundled for it; the message lists the suites that are.
    """
    if suite not in bundled_suites():
        known = ", ".join(bundled_suites()) or "none"
        raise ValueError(f"suite must have bundled demonstrations ({known}), got {suite!r}")
    with importlib.resources.as_file(_folder() / f"{suite}.npz") as path:
        return read_bundle(path)


def bundled_suites() -> tuple[str, ...]:
    """Names the suites with bundled demonstrations."""
    folder = _folder()
    if not folder.is_dir():
        return ()
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".npz") for name in names if name.endswith(".npz")))


def write_bundle(path: Path, demonstrations: Sequence[Demonstration]) -> None:
    """Packs demonstrations of one suite; their traces are left out.

    Raises:
      ValueError: if there are none, or they are of several suites.
    """
    suites = {demonstration.suite for demonstration in demonstrations}
    if len(suites) != 1:
        raise ValueError(
            f"a bundle must hold one suite, got {sorted(suites) or 'no demonstrations'}"
        )
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        arrays = _pack(suites.pop(), demonstrations)
        hashed = {**arrays, HASH: np.array(_digest(arrays))}
        np.savez_compressed(stream, allow_pickle=False, **hashed)


def read_bundle(path: Path) -> list[Demonstration]:
    """Reads a file that `write_bundle` wrote.

    Raises:
      ValueError: if it is damaged, or of another format version.
    """
    arrays = read_npz(path)
    _check(path, arrays, ("format_version",))
    version = int(arrays["format_version"])
    if not 1 <= version <= FORMAT_VERSION:
        raise ValueError(f"{path} must have format version 1 to {FORMAT_VERSION}, got {version}")
    found = arrays.pop(HASH, None)
    if (found is not None or version > 1) and str(found) != _digest(arrays):
        raise DamagedError(f"{path} is damaged: its {HASH} is not that of its content")
    _check(path, arrays, COLUMNS)
    try:
        return _unpack(arrays)
    except ValueError as error:
        raise ValueError(f"{path} is not a whole bundle: {error}") from error


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _check(path: Path, arrays: Mapping[str, np.ndarray], names: Iterable[str]) -> None:
    for name in names:
        kind, shape = COLUMNS[name]
        found = arrays.get(name)
        if found is None or not np.issubdtype(found.dtype, kind) or not _fits(found.shape, shape):
            got = "none" if found is None else f"{found.dtype} {found.shape}"
            raise ValueError(f"{path}: {name} must be {kind.__name__} {shape}, got {got}")


def _fits(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(found) == len(wanted) and all(
        size is None or size == there for there, size in zip(found, wanted, strict=True)
    )


def _pack(suite: str, demonstrations: Sequence[Demonstration]) -> dict[str, np.ndarray]:
    labels = [to_counts(each.actions) for each in demonstrations]
    executed = [to_counts(each.executed) for each in demonstrations]
    starts = [each.start for each in demonstrations]
    return {
        "format_version": np.array(FORMAT_VERSION, np.int32),
        "suite": np.array(suite),
        "task_index": np.array([each.task_index for each in demonstrations], np.int32),
        "task_name": np.array([each.task_name for each in demonstrations]),
        "instruction": np.array([each.instruction for each in demonstrations]),
        "seed": np.array([start.seed for start in starts], np.int64),
        "length": np.array([len(each) for each in demonstrations], np.int32),
        "state_size": np.array([start.state.size for start in starts], np.int32),
        "num_fixtures": np.array([len(start.fixtures) for start in starts], np.int32),
        "actions": np.concatenate(labels),
        "disturbance": np.concatenate(executed) - np.concatenate(labels),
        "state": np.concatenate([each.state for each in demonstrations]),
        "start_state": np.concatenate([start.state for start in starts]),
        "fixtures": np.concatenate([start.fixtures for start in starts]),
        "final_state": np.concatenate([each.final_state for each in demonstrations]),
    }


def _unpack(arrays: dict[str, np.ndarray]) -> list[Demonstration]:
    steps, sizes, fixtures = arrays["length"], arrays["state_size"], arrays["num_fixtures"]
    per_episode = ("task_index", "task_name", "instruction", "seed", "state_size", "num_fixtures")
    counts = {name: len(arrays[name]) for name in per_episode}
    if set(counts.values()) != {len(steps)}:
        raise ValueError(f"its {len(steps)} episodes must each have one of {counts}")
    actions = _cut(from_counts(arrays["actions"]), steps)
    executed = _cut(from_counts(arrays["actions"] + arrays["disturbance"]), steps)
    states = _cut(arrays["state"], steps)
    final_states = _cut(arrays["final_state"], sizes)
    start_states = _cut(arrays["start_state"], sizes)
    fixture_poses = _cut(arrays["fixtures"], fixtures)
    return [
        Demonstration(
            suite=str(arrays["suite"]),
            task_index=int(arrays["task_index"][i]),
            task_name=str(arrays["task_name"][i]),
            instruction=str(arrays["instruction"][i]),
            start=Start(start_states[i], fixture_poses[i], int(arrays["seed"][i])),
            actions=actions[i],
            executed=executed[i],
            state=states[i],
            final_state=final_states[i],
        )
        for i in range(len(steps))
    ]


def _cut(flat: np.ndarray, lengths: Int[np.ndarray, " e"]) -> list[np.ndarray]:
    if (lengths < 0).any() or lengths.sum() != len(flat):
        raise ValueError(f"lengths must add up to {len(flat)} rows, got {lengths.tolist()}")
    return np.split(flat, np.cumsum(lengths)[:-1])


def _folder() -> importlib.resources.abc.Traversable:
    return importlib.resources.files("rfsq_jax") / "bundled" / "demonstrations"
