"""One run of train.ae that makes ordered tokens; the files in configs/ build it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rfsq_jax.data.episodes import HORIZON
from rfsq_jax.runs.checks import MAX_DEPTH, MAX_SIZE, require, require_range
from rfsq_jax.runs.records import require_types
from rfsq_jax.training.ordered.training import OrderedTrainingConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class OrderedRun:
    """One run of train.ae for an ordered tokenizer.

    Attributes:
      training: of the dense path.
      suites: whose bundled demonstrations to train on.
      horizon: steps of a chunk.
      num_tokens: tokens of a chunk besides the gripper's; None for some that grow with the horizon.
      dense: whether a dense path is trained; else the shared one has it all.
      synthetic: whether synthetic motion counts for the shared path's statistics, too.
      held_out: share of the episodes of each task that is only measured on.
      beside: names and folders of tokenizers that are shown beside it, where they are.
      fast_scales: of the FAST tokenizers beside it.
      output: the run's folder; the same command resumes what is there.
    """

    training: OrderedTrainingConfig = OrderedTrainingConfig()
    suites: tuple[str, ...] = ("libero_spatial", "libero_object", "libero_goal")
    horizon: int = HORIZON
    num_tokens: int | None = None
    dense: bool = True
    synthetic: bool = False
    held_out: float = 0.1
    beside: tuple[tuple[str, str], ...] = (
        ("naive", "runs/ae/robust/naive/tokenizer"),
        ("robust", "runs/ae/robust/tokenizer"),
    )
    fast_scales: tuple[float, ...] = (2.0, 4.0, 10.0, 20.0, 40.0)
    output: Path = Path("runs/ae/ordered")

    def __post_init__(self) -> None:
        require_types(self)
        require(len(self.suites) > 0, "suites", "at least one", self.suites)
        require_range(self, 1, MAX_SIZE, "horizon")
        if self.num_tokens is not None:
            require_range(self, 1, MAX_DEPTH, "num_tokens")
        require(0 < self.held_out < 1, "held_out", "in (0, 1)", self.held_out)
        positive = all(scale > 0 for scale in self.fast_scales)
        require(positive, "fast_scales", "above 0", self.fast_scales)
