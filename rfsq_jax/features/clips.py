"""Which frames of which episodes become features.

Axes: N steps of an episode · M frames used · T steps of a chunk · A action dims.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from rfsq_jax.data.bundled import load_demonstrations
from rfsq_jax.data.chunks import episode_chunks
from rfsq_jax.data.episodes import Episode
from rfsq_jax.data.hdf5 import read_hdf5
from rfsq_jax.data.splits import split_episodes
from rfsq_jax.features.run import FeaturesRun
from rfsq_jax.libero.demonstration import Demonstration


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """One episode, and where its pictures come from.

    Attributes:
      episode: actions, state and instruction; no pictures.
      group: what the episode shares a simulator or a file with.
      demonstration: what to replay; None if pictures are stored.
      file: the HDF5 file with the pictures, and the episode's place in it; None to replay.
    """

    episode: Episode
    group: str
    demonstration: Demonstration | None = None
    file: tuple[Path, int] | None = None

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
      FileNotFoundError: if `run.images` names no HDF5 file.
      ValueError: if a file is damaged, or a suite has no bundled demonstrations.
    """
    if run.images:
        return [each for path in _files(run.images) for each in _stored(path)]
    return [
        Recording(each.episode, f"{each.suite}/{each.task_index}", demonstration=each)
        for suite in run.suites
        for each in load_demonstrations(suite)
    ]


def make_clips(run: FeaturesRun, recordings: Sequence[Recording]) -> list[Clip]:
    """Chooses episodes and frames; the same for every process.

    The split is made over all recordings, so that what one run trains on no other run of the same
    recordings measures on; then each task keeps its first ones of both parts.

    Raises:
      ValueError: if no episode is long enough.
    """
    _, held_out = split_episodes(recordings, run.held_out, run.seed)
    behind = {id(each) for each in held_out}
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


def _evenly(recordings: Sequence[Recording], behind: set[int], run: FeaturesRun) -> list[Recording]:
    """The same number of episodes of every task, held-out ones in proportion, at least one."""
    tasks: dict[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        tasks[f"{recording.group} {recording.instruction}"].append(recording)
    chosen = []
    for place, group in enumerate(tasks.values()):
        count = len(group)
        if run.episodes is not None:
            each, rest = divmod(run.episodes, len(tasks))
            count = each + (place < rest)
        parts = {
            "train": [each for each in group if id(each) not in behind],
            "held_out": [each for each in group if id(each) in behind],
        }
        if run.split == "all":
            kept = max(1, round(count * run.held_out)) if count > 1 else 0
            chosen += parts["train"][: count - kept] + parts["held_out"][:kept]
        else:
            chosen += parts[run.split][:count]
    return chosen


def _clip(recording: Recording, number: int, held_out: bool, run: FeaturesRun) -> Clip:
    episode = recording.episode
    chunks = episode_chunks(episode.actions, run.horizon)
    # Another phase for every episode, so that a stride skips nothing for good.
    frames = np.arange(number % run.stride, len(chunks), run.stride, dtype=np.int32)
    return Clip(recording, number, held_out, frames, episode.state[frames], chunks[frames])


def _files(paths: Sequence[Path]) -> list[Path]:
    found = [
        file
        for path in paths
        for file in (sorted(path.glob("*.hdf5")) if path.is_dir() else [path])
    ]
    if not found:
        raise FileNotFoundError(f"images must name HDF5 files, got {[str(path) for path in paths]}")
    return found


def _stored(path: Path) -> list[Recording]:
    episodes = read_hdf5(path)
    return [
        Recording(episode, str(path), file=(path, place)) for place, episode in enumerate(episodes)
    ]
