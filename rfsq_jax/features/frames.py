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

from rfsq_jax.data.episodes import Episode, episode_chunks, split_episodes
from rfsq_jax.data.readers.libero_hdf5 import read_hdf5
from rfsq_jax.data.readers.rlds import LIBERO, read_shard
from rfsq_jax.data.readers.tfds import find_shards, is_tfds
from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.libero.demonstrations.bundled import load_demonstrations
from rfsq_jax.libero.demonstrations.demonstration import Demonstration
from rfsq_jax.libero.demonstrations.hdf5 import read_demonstrations


@dataclasses.dataclass(frozen=True, eq=False)
class SourceEpisode:
    """One episode, and where its images come from.

    Attributes:
      episode: actions, state and instruction; no images.
      group: what the episode shares a simulator or a file with.
      demonstration: what to replay; None if images are stored.
      file: the HDF5 or TFRecord file with the images, and the episode's index in it; None to
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
class EpisodeFrames:
    """The frames of one episode that are used.

    Attributes:
      source: the episode.
      number: the episode's number within the run.
      held_out: whether it is only measured on.
      frames: int32 [M], steps of the episode, ascending.
      state: float32 [M, 8], raw, before the action.
      actions: float32 [M, T, A], the labels of the next T steps, robot units.
    """

    source: SourceEpisode
    number: int
    held_out: bool
    frames: Int[np.ndarray, " m"]
    state: Float[np.ndarray, "m 8"]
    actions: Float[np.ndarray, "m t a"]


def load_episodes(run: FeaturesRun) -> list[SourceEpisode]:
    """All episodes that the run may take, in a fixed order.

    Raises:
      FileNotFoundError: if `run.demos` or `run.images` names nothing to read.
      ValueError: if a file is damaged, or a suite has no bundled demonstrations.
    """
    more = [each for path in run.demos for each in _demonstrated(path)]
    if run.images:
        return [each for path in run.images for each in _stored(path)] + more
    bundled = [
        SourceEpisode(each.episode, f"{each.suite}/{each.task_index}", demonstration=each)
        for suite in run.suites
        for each in load_demonstrations(suite)
    ]
    return bundled + more


def choose_frames(run: FeaturesRun, sources: Sequence[SourceEpisode]) -> list[EpisodeFrames]:
    """Chooses episodes and frames; the same for every process.

    The split is made over all episodes of a collection, so that what one run trains on no other
    run of the same episodes measures on; then each task keeps its first ones of both parts.

    Raises:
      ValueError: if no episode is long enough.
    """
    collections: dict[Path | None, list[SourceEpisode]] = defaultdict(list)
    for source in sources:
        collections[source.collection].append(source)
    splits = [split_episodes(each, run.held_out, run.seed) for each in collections.values()]
    held_out = {id(source) for _, part in splits for source in part}
    chosen = [
        _frames_of(source, number, id(source) in held_out, run)
        for number, source in enumerate(_evenly(sources, held_out, run))
    ]
    chosen = [each for each in chosen if len(each.frames)]
    if not chosen:
        raise ValueError(f"expected an episode of at least {run.horizon} steps, got none")
    return chosen


def shards_of(run: FeaturesRun, chosen: Sequence[EpisodeFrames]) -> list[list[EpisodeFrames]]:
    """Episodes of one group each, at most `run.episodes_per_shard` of them."""
    groups: dict[str, list[EpisodeFrames]] = defaultdict(list)
    for each in chosen:
        groups[each.source.group].append(each)
    size = run.episodes_per_shard
    return [
        group[start : start + size]
        for group in groups.values()
        for start in range(0, len(group), size)
    ]


def shard_columns(
    shard: Sequence[EpisodeFrames], instruction_index: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """What lies beside the features of these episodes, one row per frame: see `FeatureStore`.

    Args:
      shard: its episodes.
      instruction_index: the number of each instruction.
    """

    def repeat(values: Sequence[Any], dtype: Any) -> np.ndarray:
        return np.repeat(np.asarray(values, dtype), [len(each.frames) for each in shard])

    numbers = [instruction_index[each.source.instruction] for each in shard]
    return {
        "state": np.concatenate([each.state for each in shard]).astype(np.float32),
        "actions": np.concatenate([each.actions for each in shard]).astype(np.float32),
        "frame": np.concatenate([each.frames for each in shard]),
        "episode": repeat([each.number for each in shard], np.int32),
        "held_out": repeat([each.held_out for each in shard], np.bool_),
        "instruction": repeat(numbers, np.int32),
    }


def _evenly(
    sources: Sequence[SourceEpisode], held_out: set[int], run: FeaturesRun
) -> list[SourceEpisode]:
    """The same number of episodes of every task, held-out ones in proportion, at least one."""
    tasks: dict[str, list[SourceEpisode]] = defaultdict(list)
    for source in sources:
        tasks[f"{source.group} {source.instruction}"].append(source)
    chosen = []
    for index, task in enumerate(tasks.values()):
        train = [each for each in task if id(each) not in held_out and run.split != "held_out"]
        measured = [each for each in task if id(each) in held_out and run.split != "train"]
        if run.episodes is None:
            chosen += train + measured
        else:
            count = run.episodes // len(tasks) + (index < run.episodes % len(tasks))
            chosen += _first(train, measured, count, run.held_out)
    return chosen


def _first(
    train: list[SourceEpisode], held_out: list[SourceEpisode], count: int, fraction: float
) -> list[SourceEpisode]:
    """The first `count` episodes of one task; where one part has too few, more of the other."""
    measured = max(1, round(count * fraction)) if count > 1 else 0
    measured = min(len(held_out), max(measured, count - len(train)))
    return train[: count - measured] + held_out[:measured]


def _frames_of(
    source: SourceEpisode, number: int, held_out: bool, run: FeaturesRun
) -> EpisodeFrames:
    chunks = episode_chunks(source.episode.actions, run.horizon)
    first = 0 if source.demonstration is None else source.demonstration.handover
    # Another phase for every episode, so that a stride skips nothing for good.
    frames = np.arange(first + number % run.stride, len(chunks), run.stride, dtype=np.int32)
    return EpisodeFrames(
        source, number, held_out, frames, source.episode.state[frames], chunks[frames]
    )


def _stored(path: Path) -> list[SourceEpisode]:
    """The episodes of an HDF5 file, a folder of them, or an RLDS folder."""
    if path.is_dir() and is_tfds(path):
        shards = find_shards(path, "train", LIBERO.widths())
        return [
            SourceEpisode(episode, str(path), file=(shard.path, index))
            for shard in shards
            for index, episode in enumerate(read_shard(shard))
        ]
    return [
        SourceEpisode(episode, str(file), file=(file, index))
        for file in _hdf5_files(path, "images must name HDF5 files or RLDS folders")
        for index, episode in enumerate(read_hdf5(file))
    ]


def _demonstrated(path: Path) -> list[SourceEpisode]:
    """The demonstrations of an HDF5 file of train.demos, or of a folder of them."""
    return [
        SourceEpisode(each.episode, str(file), demonstration=each, collection=path)
        for file in _hdf5_files(path, "demos must name HDF5 files of train.demos, or folders")
        for each in read_demonstrations(file)
    ]


def _hdf5_files(path: Path, expected: str) -> list[Path]:
    files = sorted(path.glob("*.hdf5")) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"{expected}, got {path}")
    return files
