"""Makes the demonstrations of one task, attempt by attempt, so that a killed run can go on.

Attempt k of a task depends on (suite, task, seed, k) alone. Each finished attempt is a file; when
enough of them succeeded they become the task's HDF5 file and disappear.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from rfsq_jax.libero.demonstrations.hdf5 import merge_hdf5, write_hdf5
from rfsq_jax.libero.demonstrations.recording import record
from rfsq_jax.libero.environment import POLICY_CAMERAS, Environment
from rfsq_jax.libero.experts import make_expert
from rfsq_jax.libero.placements import random_start
from rfsq_jax.libero.tasks import Task
from rfsq_jax.runs.files import atomic_path

PATIENCE = 20
"""A task is given up when it has this many attempts more than three per episode wanted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """What decides the content of an attempt, besides its task and number.

    Attributes:
      seed: of the whole run.
      style: how the expert moves, see `rfsq_jax.libero.experts`.
      placement_margin: metres by which the placement regions grow.
      image_size: pixels, or None for no images.
      rollout_policy: name or folder of the policy that acts first in every attempt, or None.
      rollout_steps: it does so for 0 to this many steps.
    """

    seed: int
    style: str
    placement_margin: float
    image_size: int | None
    rollout_policy: str | None = None
    rollout_steps: int = 0


@runtime_checkable
class RolloutPolicy(Protocol):
    """A policy in the simulator's own process."""

    @property
    def image_size(self) -> int:
        """Height and width of the images that it looks at."""
        ...

    def __call__(self, env: Environment) -> Float[np.ndarray, "t 7"]:
        """Returns its next actions in `env` as it is now: [T, 7]."""
        ...


def generate(
    task: Task,
    episodes: int,
    recipe: Recipe,
    output: Path,
    report: Callable[[bool], None] = lambda succeeded: None,
    *,
    rollout_policy: RolloutPolicy | None = None,
) -> Path:
    """Writes `output/<task>_demo.hdf5` with `episodes` demonstrations; continues a killed run.

    Args:
      task: what to demonstrate.
      episodes: how many successful attempts to keep; the first ones by number.
      recipe: how.
      output: the run's folder.
      report: called after each attempt with whether it succeeded.
      rollout_policy: the policy that the recipe names.

    Raises:
      RuntimeError: if the expert fails so often that something must be wrong.
    """
    path = task_file(output, task)
    if path.exists():
        return path
    folder = attempts_folder(output, task)
    kept, failed = finished_attempts(folder)
    number = len(kept) + len(failed)
    size = recipe.image_size or (rollout_policy.image_size if rollout_policy else None)
    cameras = POLICY_CAMERAS if size else ()
    with Environment(task, cameras=cameras, image_size=size or 1) as env:
        while len(kept) < episodes:
            if number >= 3 * episodes + PATIENCE:
                raise RuntimeError(
                    f"{task.suite}/{task.name}: {len(kept)} of {number} attempts succeeded"
                )
            succeeded = _attempt(env, recipe, number, folder, rollout_policy)
            kept, failed = finished_attempts(folder)
            number += 1
            report(succeeded)
    merge_hdf5(path, kept[:episodes], attempts=number)
    shutil.rmtree(folder)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
    return path


def task_file(output: Path, task: Task) -> Path:
    """Where the finished demonstrations of `task` are."""
    return output / f"{task.name}_demo.hdf5"


def attempts_folder(output: Path, task: Task) -> Path:
    """Where the attempts of an unfinished task are."""
    return output / "attempts" / task.name


def finished_attempts(folder: Path) -> tuple[list[Path], list[Path]]:
    """Returns the files of the successful and of the failed attempts, by number."""
    return sorted(folder.glob("*.hdf5")), sorted(folder.glob("*.failed"))


def attempt_seeds(task: Task, seed: int, number: int) -> tuple[int, int]:
    """Returns the seeds of an attempt's placement and of its expert, each below 2**32."""
    entropy = [zlib.crc32(task.suite.encode()), task.index, seed, number]
    placement, expert = np.random.SeedSequence(entropy).generate_state(2)
    return int(placement), int(expert)


def _attempt(
    env: Environment,
    recipe: Recipe,
    number: int,
    folder: Path,
    rollout_policy: RolloutPolicy | None,
) -> bool:
    placement_seed, expert_seed = attempt_seeds(env.task, recipe.seed, number)
    start = random_start(env, placement_seed, placement_margin=recipe.placement_margin)
    rng = np.random.default_rng(expert_seed)
    steps = 0 if rollout_policy is None else int(rng.integers(recipe.rollout_steps + 1))
    demonstration = record(
        env,
        start,
        lambda env: make_expert(env, rng, recipe.style),
        images=recipe.image_size is not None,
        rollout_policy=rollout_policy,
        rollout_steps=steps,
    )
    stem = folder / f"{number:06d}"
    if demonstration is None:
        with atomic_path(stem.with_suffix(".failed")) as temporary:
            temporary.touch()
        return False
    write_hdf5(stem.with_suffix(".hdf5"), [demonstration])
    return True
