"""What is evaluated in LIBERO, and how: the options of eval.libero."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rfsq_jax.evaluation.play.worker import Videos
from rfsq_jax.evaluation.protocol import EpisodeRules, EvaluationProtocol
from rfsq_jax.libero import tasks as benchmark
from rfsq_jax.libero.tasks import SUITES, Task, official_init_states
from rfsq_jax.policies import Mode, Policy
from rfsq_jax.policies.loading import PolicyOptions
from rfsq_jax.runs.checks import require, require_positive

ALL = "all"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiberoSettings(EpisodeRules):
    """Which episodes are played, and how, whatever the policy.

    Attributes:
      suite: suites, such as libero_spatial libero_spatial_swap; "all" is the five original ones.
      tasks: indices of the tasks of each suite; all by default.
      trials: episodes per task; the official protocol has 50.
      execute: steps of each chunk that are played; all by default.
      workers: simulator processes; they do not change results. Each takes about 2 GB.
      ray: address of a Ray cluster, on whose machines they then run; all of these must see the
        folder `output`.
      video: which episodes are filmed: none, failures or all.
      batch: rows of every call of the policy, a power of two; by default 1 on a CPU, else 8.
      output: the run's folder; the same command resumes there.
    """

    suite: tuple[str, ...] = ("libero_spatial",)
    tasks: tuple[int, ...] = ()
    trials: int = 2
    execute: int | None = None
    workers: int = 2
    ray: str | None = None
    video: Videos = "failures"
    batch: int | None = None
    output: Path = Path("runs/libero")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "trials", "workers")
        require(len(self.suite) > 0, "suite", "at least one name", self.suite)
        require(len(set(self.suite)) == len(self.suite), "suite", "without repeats", self.suite)
        require(len(set(self.tasks)) == len(self.tasks), "tasks", "without repeats", self.tasks)
        if self.batch is not None:
            require_positive(self, "batch")
        if self.execute is not None:
            require_positive(self, "execute")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiberoOptions(PolicyOptions, LiberoSettings):
    """One run of one policy.

    Attributes:
      mode: how the policy decodes: greedy, speculative or early_exit.
    """

    mode: Mode = "greedy"


def choose_tasks(settings: LiberoSettings) -> list[Task]:
    """The tasks to play, suite by suite.

    Raises:
      ValueError: for an unknown suite or task, or more trials than a task has initial states.
    """
    suites = SUITES if settings.suite == (ALL,) else settings.suite
    chosen = [task for suite in suites for task in benchmark.choose_tasks(suite, settings.tasks)]
    if settings.starts == "official":
        for task in chosen:
            stored = len(official_init_states(task))
            expected = f"at most {stored}, the initial states of {task.suite} task {task.index}"
            require(settings.trials <= stored, "trials", expected, settings.trials)
    return chosen


def protocol_of(settings: LiberoSettings, policy: Policy) -> EvaluationProtocol:
    """How episodes of a policy are played.

    Raises:
      ValueError: if a chunk has fewer steps than are to be played.
    """
    rules = {
        field.name: getattr(settings, field.name) for field in dataclasses.fields(EpisodeRules)
    }
    if settings.starts == "official":
        rules["placement_margin"] = 0.0
    execute = policy.horizon if settings.execute is None else settings.execute
    expected = f"at most {policy.horizon}, the steps of the policy's chunks"
    require(execute <= policy.horizon, "execute", expected, execute)
    return EvaluationProtocol(**rules, execute=execute, image_size=policy.backbone.spec.image_size)
