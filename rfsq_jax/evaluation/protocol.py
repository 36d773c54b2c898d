"""What an episode is: the official protocol, and every way in which a run may differ from it."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any, Literal

import numpy as np

from rfsq_jax.libero.tasks import step_limit
from rfsq_jax.runs.checks import require, require_choice, require_positive, require_seed
from rfsq_jax.runs.records import require_types

Scene = tuple[str, int]
"""Suite and task: what a simulator is built for."""

Starts = Literal["official", "random"]
OFFICIAL_TRIALS = 50
OFFICIAL_IMAGE_SIZE = 256
OFFICIAL_SETTLE_STEPS = 10
PLACEMENT_ENTROPY = zlib.crc32(b"evaluation")
"""Sets evaluation's random placements apart from those of demonstrations with the same seed."""


@dataclasses.dataclass(frozen=True, order=True)
class Trial:
    """One episode to play.

    Attributes:
      suite: its name.
      task: index in the suite's official order.
      number: of the task's trials; the index of the official initial state.
    """

    suite: str
    task: int
    number: int

    @property
    def scene(self) -> Scene:
        """What it is played in."""
        return (self.suite, self.task)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpisodeRules:
    """How episodes are played, whatever the policy; every default is the official protocol's.

    Attributes:
      starts: "official": the benchmark's stored initial states, for reporting; "random": seeded
        placements, for choosing.
      placement_margin: metres by which regions of random placements grow on all sides.
      seed: of random placements; nothing else is random.
      settle_steps: steps without motion at the start of an episode.
      step_limit: steps after settling; None is the suite's own.
    """

    starts: Starts = "official"
    placement_margin: float = 0.05
    seed: int = 0
    settle_steps: int = OFFICIAL_SETTLE_STEPS
    step_limit: int | None = None

    def __post_init__(self) -> None:
        require_choice(self.starts, Starts, "starts")
        require_types(self)
        margin = self.placement_margin
        require(margin >= 0, "placement_margin", "at least 0 m", margin)
        require_seed(self)
        require(self.settle_steps >= 0, "settle_steps", "at least 0", self.settle_steps)
        if self.step_limit is not None:
            require_positive(self, "step_limit")

    def limit(self, suite: str) -> int:
        """Steps after settling in `suite`."""
        return step_limit(suite) if self.step_limit is None else self.step_limit


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationProtocol(EpisodeRules):
    """How episodes of one policy are played.

    Attributes:
      execute: steps of each chunk that are played before the policy is asked again.
      image_size: height and width of images, pixels.
    """

    execute: int
    image_size: int = OFFICIAL_IMAGE_SIZE

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "execute", "image_size")


def current_names(protocol: dict[str, Any]) -> dict[str, Any]:
    """The fields of a protocol in results.json, where older runs had another name for one."""
    return {{"spread": "placement_margin"}.get(name, name): each for name, each in protocol.items()}


def placement_seed(trial: Trial, seed: int) -> int:
    """The seed of a trial's random placement, below 2**32."""
    entropy = [PLACEMENT_ENTROPY, zlib.crc32(trial.suite.encode()), trial.task, seed, trial.number]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def deviations(protocol: EvaluationProtocol, trials: int, some_tasks: bool) -> list[str]:
    """Says where a run differs from the official protocol.

    Args:
      protocol: of the run.
      trials: per task.
      some_tasks: whether tasks are left out.
    """
    found = []
    if protocol.starts == "random":
        found.append(
            f"random placements (seed {protocol.seed}, regions wider by "
            f"{protocol.placement_margin:g} m on all sides) instead of the stored initial states"
        )
    if trials != OFFICIAL_TRIALS:
        found.append(f"{trials} trials per task instead of {OFFICIAL_TRIALS}")
    if some_tasks:
        found.append("some tasks of the suite instead of all")
    if protocol.settle_steps != OFFICIAL_SETTLE_STEPS:
        found.append(f"{protocol.settle_steps} settling steps instead of {OFFICIAL_SETTLE_STEPS}")
    if protocol.step_limit is not None:
        found.append(f"{protocol.step_limit} steps at most instead of the suite's own limit")
    if protocol.image_size != OFFICIAL_IMAGE_SIZE:
        found.append(f"{protocol.image_size} px images instead of {OFFICIAL_IMAGE_SIZE}")
    return found
