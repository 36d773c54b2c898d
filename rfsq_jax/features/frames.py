"""Which frames of which episodes become features.

Axes: N steps of an episode · M frames used · T steps of a chunk · A action dims.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from rfsq_jax.data.chunks import episode_chunks
from rfsq_jax.data.episodes import Episode
from rfsq_jax.data.readers.libero_hdf5 import read_hdf5
from rfsq_jax.data.readers.rlds import LIBERO, read_shard
from rfsq_jax.data.readers.tfds import find_shards, is_tfds
from rfsq_jax.data.splits import split_episodes
from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.libero.demonstrations.bundled import load_demonstrations
from rfsq_jax.libero.demonstrations.demonstration import Demonstration
from rfsq_jax.libero.demonstrations.hdf5 import read_demonstrations


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """One episode, and where its pictures come from.

    Attributes:
      episode: actions, state and instruction; no pictures.
      group: what the episode shares a simulator or a file with.
      demonstration: what to replay; None if pictures are stored.
      file: the HDF5 or TFRecord file with the pictures, and the episode's place in it; None to
        replay.
      collection: what it is held out within: a folder of further demonstrations, or none.
    """

    episode: Episode
    group: str
    demonstration: Demonstration | None = None
    file: tuple[Path, int] | None = None
    collection: Path | None = None

    @property
    def instruction(self) -> str:
        """What the episode does."""
        return self.episode.instruction


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
    """The frames of one recording that are used.

    Attributes:
      recording: the episode.
      number: the episode's number within the run.
      held_out: whether it is only measured on.
      frames: int32 [M], steps of the episode, ascending.
      state: float32 [M, 8], raw, before the action.
      actions: float32 [M, T, A], the labels of the next T steps, robot units.
    """

    recording: Recording
    number: int
    held_out: bool
    frames: Int[np.ndarray, " m"]
    state: Float[np.ndarray, "m 8"]
    actions: Float[np.ndarray, "m t a"]


def load_recordings(run: FeaturesRun) -> list[Recording]:
    """All episodes that the run may draw from, in a fixed order.

    Raises:
      FileNotFoundError: if `run.demos` or `run.images` names nothing to read.
      ValueError: if a file is damaged, or a suite has no bundled demonstrations.
    """
    more = [each for path in run.demos for each in _demonstrated(path)]
    if run.images:
        return [each for path in run.images for each in _stored(path)] + more
    bundled = [
        Recording(each.episode, f"{each.suite}/{each.task_index}", demonstration=each)
        for suite in run.suites
        for each in load_demonstrations(suite)
    ]
    return bundled + more


def make_clips(run: FeaturesRun, recordings: Sequence[Recording]) -> list[Clip]:
    """Chooses episodes and frames; the same for every process.

    The split is made over all recordings of a collection, so that what one run trains on no other
    run of the same recordings measures on; then each task keeps its first ones of both parts.

    Raises:
      ValueError: if no episode is long enough.
    """
    collections: dict[Path | None, list[Recording]] = defaultdict(list)
    for recording in recordings:
        collections[recording.collection].append(recording)
    splits = [split_episodes(each, run.held_out, run.seed) for each in collections.values()]
    behind = {id(recording) for _, held_out in splits for recording in held_out}
    chosen = _evenly(recordings, behind, run)
    clips = [
        _clip(recording, number, id(recording) in behind, run)
        for number, recording in enumerate(chosen)
    ]
    clips = [clip for clip in clips if len(clip.frames)]
    if not clips:
        raise ValueError(f"expected an episode of at least {run.horizon} steps, got none")
    return clips


def shards_of(run: FeaturesRun, clips: Sequence[Clip]) -> list[list[Clip]]:
    """Clips of one group each, at most `run.episodes_per_shard` of them."""
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[clip.recording.group].append(clip)
    size = run.episodes_per_shard
    return [
        group[start : start + size]
        for group in groups.values()
        for start in range(0, len(group), size)
    ]


def columns_of(clips: Sequence[Clip], words: Mapping[str, int]) -> dict[str, np.ndarray]:
    """What lies beside the features of these clips, one row per frame: see `FeatureStore`.

    Args:
      clips: of one shard.
      words: the number of each instruction.
    """

    def spread(values: Sequence[Any], dtype: Any) -> np.ndarray:
        return np.repeat(np.asarray(values, dtype), [len(clip.frames) for clip in clips])

    return {
        "state": np.concatenate([clip.state for clip in clips]).astype(np.float32),
        "actions": np.concatenate([clip.actions for clip in clips]).astype(np.float32),
        "frame": np.concatenate([clip.frames for clip in clips]),
        "episode": spread([clip.number for clip in clips], np.int32),
        "held_out": spread([clip.held_out for clip in clips], np.bool_),
        "instruction": spread([words[clip.recording.instruction] for clip in clips], np.int32),
    }


def _evenly(recordings: Sequence[Recording], behind: set[int], run: FeaturesRun) -> list[Recording]:
    """The same number of episodes of every task, held-out ones in proportion, at least one."""
    tasks: dict[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        tasks[f"{recording.group} {recording.instruction}"].append(recording)
    chosen = []
    for place, task in enumerate(tasks.values()):
        train = [each for each in task if id(each) not in behind and run.split != "held_out"]
        held_out = [each for each in task if id(each) in behind and run.split != "train"]
        if run.episodes is None:
            chosen += train + held_out
        else:
            count = run.episodes // len(tasks) + (place < run.episodes % len(tasks))
            chosen += _first(train, held_out, count, run.held_out)
    return chosen


def _first(
    train: list[Recording], held_out: list[Recording], count: int, fraction: float
) -> list[Recording]:
    """The first `count` episodes of one task; where one part has too few, more of the other."""
    measured = max(1, round(count * fraction)) if count > 1 else 0
    measured = min(len(held_out), max(measured, count - len(train)))
    return train[: count - measured] + held_out[:measured]


def _clip(recording: Recording, number: int, held_out: bool, run: FeaturesRun) -> Clip:
    episode = recording.episode
    chunks = episode_chunks(episode.actions, run.horizon)
    first = 0 if recording.demonstration is None else recording.demonstration.handover
    # Another phase for every episode, so that a stride skips nothing for good.
    frames = np.arange(first + number % run.stride, len(chunks), run.stride, dtype=np.int32)
    return Clip(recording, number, held_out, frames, episode.state[frames], chunks[frames])


def _stored(path: Path) -> list[Recording]:
    """The episodes of an HDF5 file, a folder of them, or an RLDS folder."""
    if path.is_dir() and is_tfds(path):
        shards = find_shards(path, "train", LIBERO.widths())
        return [
            Recording(episode, str(path), file=(shard.path, place))
            for shard in shards
            for place, episode in enumerate(read_shard(shard))
        ]
    return [
        Recording(episode, str(file), file=(file, place))
        for file in _hdf5_files(path, "images must name HDF5 files or RLDS folders")
        for place, episode in enumerate(read_hdf5(file))
    ]


def _demonstrated(path: Path) -> list[Recording]:
    """The demonstrations of an HDF5 file of train.demos, or of a folder of them."""
    return [
        Recording(each.episode, str(file), demonstration=each, collection=path)
        for file in _hdf5_files(path, "demos must name HDF5 files of train.demos, or folders")
        for each in read_demonstrations(file)
    ]


def _hdf5_files(path: Path, expected: str) -> list[Path]:
    files = sorted(path.glob("*.hdf5")) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"{expected}, got {path}")
    return files
