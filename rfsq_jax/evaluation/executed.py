"""The actions of finished episodes, so that each can be played again without its policy.

Axes: N steps.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from rfsq_jax.evaluation.log import Record
from rfsq_jax.evaluation.protocol import Trial
from rfsq_jax.runs.files import atomic_path

FOLDER = "actions"


def write_actions(output: Path, trial: Trial, actions: Float32[np.ndarray, "n 7"]) -> Path:
    """Writes the actions of a trial into a run's folder, whole or not at all."""
    path = actions_file(output, trial)
    path.parent.mkdir(parents=True, exist_ok=True)
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
    actions = np.load(path, allow_pickle=False)
    if digest(actions) != record.actions_sha256:
        raise ValueError(f"{path} must hold the actions that were logged, got others")
    return actions


def digest(actions: Float32[np.ndarray, "n 7"]) -> str:
    """SHA-256 of the actions' bytes."""
    return hashlib.sha256(actions.tobytes()).hexdigest()


def actions_file(output: Path, trial: Trial) -> Path:
    """Where they are."""
    return output / FOLDER / f"{trial.suite}-task{trial.task:02d}-trial{trial.number:02d}.npy"
