"""Finished episodes: one JSON line each, on disk before the next one starts, and their actions.

Axes: N steps.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from rfsq_jax.data.episodes import ACTION_DIM
from rfsq_jax.evaluation.protocol import Trial
from rfsq_jax.runs.arrays import read_npy
from rfsq_jax.runs.checks import DamagedError, require
from rfsq_jax.runs.files import atomic_path
from rfsq_jax.runs.line_files import append_line, leave_out, read_lines
from rfsq_jax.runs.records import parse_record


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """A finished episode.

    Attributes:
      suite: its name.
      task: index of the task.
      trial: number of the trial.
      success: whether the goal was reached.
      steps: played, without settling.
      chunks: how often the policy was asked.
      seed: of the run's protocol.
      initial_state: index of the official initial state; None for a random placement.
      placement_seed: of the random placement; None for an official state.
      actions_sha256: of all actions played, float32.
      seconds: where the time went; "total" is the wall time, without building the scene.
      worker_mib: peak memory of the worker so far.
      attempts: 1, or more where workers were killed or failed.
      video: path within the run's folder; None without one.
      filmstrip: path within the run's folder; None without one.
    """

    suite: str
    task: int
    trial: int
    success: bool
    steps: int
    chunks: int
    seed: int
    initial_state: int | None
    placement_seed: int | None
    actions_sha256: str
    seconds: dict[str, float]
    worker_mib: float
    attempts: int = 1
    video: str | None = None
    filmstrip: str | None = None

    def __post_init__(self) -> None:
        for name in ("task", "trial", "steps", "chunks"):
            value = getattr(self, name)
            require(value >= 0, name, "0 or more", value)
        require("total" in self.seconds, "seconds", "with 'total'", sorted(self.seconds))

    @property
    def key(self) -> Trial:
        """Which trial it was."""
        return Trial(self.suite, self.task, self.trial)


class EpisodeLog:
    """The file `episodes.jsonl` of a run."""

    def __init__(self, path: Path) -> None:
        """Reads what is there; changes nothing.

        Warns:
          DamagedLineWarning: for each line that is not as it was written, or tells of an episode
            that an earlier line has; the others count.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.records = _read(path)

    def append(self, record: Record) -> None:
        """Writes a line and waits until it is on disk.

        Raises:
          ValueError: if the episode is already there.
        """
        if record.key in self.records:
            raise ValueError(f"{record.key} is already in {self.path}")
        append_line(self.path, dataclasses.asdict(record))
        self.records[record.key] = record


def write_actions(output: Path, trial: Trial, actions: Float32[np.ndarray, "n 7"]) -> Path:
    """Writes the actions of a trial into a run's folder, whole or not at all."""
    path = actions_file(output, trial)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, actions)
    return path


def read_actions(output: Path, record: Record) -> Float32[np.ndarray, "n 7"]:
    """Reads the actions of a finished episode.

    Raises:
      FileNotFoundError: if the run did not keep them.
      ValueError: if they are not those of the record.
    """
    path = actions_file(output, record.key)
    if not path.is_file():
        raise FileNotFoundError(f"expected the actions of {record.key} at {path}, got no file")
    actions = read_npy(path)
    fits = actions.dtype == np.float32 and actions.shape[1:] == (ACTION_DIM,)
    if not fits or digest(actions) != record.actions_sha256:
        raise DamagedError(f"{path} must hold the actions that were logged, got others")
    return actions


def digest(actions: Float32[np.ndarray, "n 7"]) -> str:
    """SHA-256 of the actions' bytes."""
    return hashlib.sha256(actions.tobytes()).hexdigest()


def actions_file(output: Path, trial: Trial) -> Path:
    """Where the actions of a trial are."""
    return output / "actions" / f"{trial.suite}-task{trial.task:02d}-trial{trial.number:02d}.npy"


def _read(path: Path) -> dict[Trial, Record]:
    records: dict[Trial, Record] = {}
    for number, value in read_lines(path):
        try:
            record = parse_record(Record, value, "it")
        except ValueError as error:
            leave_out(path, number, str(error))
            continue
        if record.key in records:
            leave_out(path, number, f"{record.key} is recorded twice")
        else:
            records[record.key] = record
    return records
