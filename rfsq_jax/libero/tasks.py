"""The benchmark's suites and tasks, their step limits and official initial states.

Axes: K stored initial states of a task · F fixtures · S flattened simulator state (time, positions,
velocities).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64

from rfsq_jax.libero.install import quiet, require_simulator
from rfsq_jax.runs.arrays import read_npz
from rfsq_jax.runs.checks import require

SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90")
"""The original suites. `available_suites()` adds the LIBERO-PRO variants that are installed."""

STEP_LIMITS = {
    "libero_spatial": 220,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
REWORDED = ("_lan", "_task")


@dataclasses.dataclass(frozen=True)
class Task:
    """One task of a suite.

    Attributes:
      suite: the suite's name, such as "libero_spatial" or "libero_spatial_swap".
      index: its place in the suite's official order.
      name: the benchmark's name of the task, also the stem of its files.
      instruction: what the policy is told, as the official evaluation words it.
      bddl_file: the scene and goal description.
    """

    suite: str
    index: int
    name: str
    instruction: str
    bddl_file: Path

    @property
    def step_limit(self) -> int:
        """Policy steps after settling, in the official protocol."""
        return step_limit(self.suite)


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """Where an episode begins, before it settles.

    Attributes:
      state: float64 [S], flattened simulator state.
      fixtures: float64 [F, 7], position (m) and quaternion (w, x, y, z) of the task's fixtures,
        which the simulator state does not hold.
      seed: what it was sampled with, or the index of the official initial state.
    """

    state: Float64[np.ndarray, " s"]
    fixtures: Float64[np.ndarray, "f 7"]
    seed: int


def step_limit(suite: str) -> int:
    """Returns how many steps after settling the official protocol allows in `suite`."""
    matches = [name for name in STEP_LIMITS if suite == name or suite.startswith(f"{name}_")]
    if not matches:
        raise ValueError(f"suite must start with one of {', '.join(STEP_LIMITS)}, got {suite!r}")
    return STEP_LIMITS[max(matches, key=len)]


@functools.cache
def available_suites() -> tuple[str, ...]:
    """Returns every installed suite: the originals, then the LIBERO-PRO variants by name."""
    require_simulator()
    from libero.libero.benchmark import task_maps

    root = _benchmark_folder("bddl_files")
    variants = sorted(
        name
        for name, entries in task_maps.items()
        if name not in SUITES
        and any(name.startswith(f"{suite}_") for suite in SUITES)
        and entries
        and all((root / name / task.bddl_file).is_file() for task in entries.values())
    )
    return (*SUITES, *variants)


@functools.cache
def tasks(suite: str) -> tuple[Task, ...]:
    """Returns the tasks of `suite` in official order.

    Raises:
      ValueError: if there is no such suite; the message lists those that exist.
      SimulatorMissingError: if the benchmark is not installed.
    """
    if suite not in available_suites():
        raise ValueError(
            f"suite must be one of {', '.join(SUITES)}, or a LIBERO-PRO variant that "
            f"available_suites() lists, such as libero_spatial_swap; got {suite!r}"
        )
    from libero.libero.benchmark import task_maps

    folder = _benchmark_folder("bddl_files") / suite
    return tuple(
        _make_task(suite, index, name, folder, task_maps[suite][name].language)
        for index, name in enumerate(task_maps[suite])
    )


def choose_tasks(suite: str, indices: Sequence[int]) -> list[Task]:
    """The tasks of `suite` with these indices, or all where none is given.

    Raises:
      ValueError: for an unknown suite or an index outside it.
    """
    known = tasks(suite)
    fits = all(0 <= index < len(known) for index in indices)
    require(fits, "tasks", f"in 0..{len(known) - 1} for {suite}", tuple(indices))
    return [known[index] for index in indices or range(len(known))]


def get_task(suite: str, index: int) -> Task:
    """Returns task `index` of `suite`.

    Raises:
      ValueError: for an unknown suite or an index outside it.
    """
    entries = tasks(suite)
    fits = 0 <= index < len(entries)
    require(fits, "index", f"in 0..{len(entries) - 1} for {suite}", index)
    return entries[index]


def official_init_states(task: Task) -> Float[np.ndarray, "k s"]:
    """Reads the benchmark's stored initial states of `task`: float64 [50, S].

    Raises:
      ValueError: if the benchmark ships none for this task, or their file is damaged.
    """
    path = _benchmark_folder("init_states") / task.suite / f"{task.name}.pruned_init.npz"
    if not path.is_file():
        raise ValueError(f"the benchmark has no initial states for {task.suite}/{task.name}")
    states = read_npz(path).get("states")
    if states is None or states.ndim != 2 or states.dtype != np.float64:
        got = "none" if states is None else f"{states.dtype} {states.shape}"
        raise ValueError(f"{path} must hold states, float64 [K, S], got {got}")
    return states


def _make_task(suite: str, index: int, name: str, folder: Path, language: str) -> Task:
    bddl_file = folder / f"{name}.bddl"
    # Variants that change the words or the goal keep the original file name.
    if suite.endswith(REWORDED):
        from libero.libero.envs.bddl_utils import get_problem_info

        language = get_problem_info(str(bddl_file))["language_instruction"].lower()
    return Task(suite, index, name, language, bddl_file)


def _benchmark_folder(key: str) -> Path:
    require_simulator()
    with quiet():
        from libero.libero import get_libero_path
    return Path(get_libero_path(key)).resolve()


def data_set(suites: Sequence[str]) -> str:
    """The data that a model is fine-tuned on for these suites: libero_spatial_swap has the same.

    Raises:
      ValueError: if there are several: a policy has the statistics of one.
    """
    names = {name for name in STEP_LIMITS for each in suites if f"{each}_".startswith(f"{name}_")}
    require(len(names) == 1, "suite", "of one data set for an original model", tuple(suites))
    return names.pop()
