"""One run of train.ae that makes an autoencoder; the files in configs/ build it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rfsq_jax.data.episodes import HORIZON
from rfsq_jax.rfsq import CONDITIONING_NAMES, Conditioning
from rfsq_jax.runs.checks import MAX_SIZE, require, require_choice, require_range
from rfsq_jax.runs.records import require_types
from rfsq_jax.training.autoencoder.training import TrainingConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoencoderRun:
    """One run of train.ae.

    Attributes:
      training: model, loss, optimiser and length.
      suites: whose bundled demonstrations to train on.
      horizon: steps of a chunk.
      held_out: share of the episodes of each task that is only measured on.
      against: conditioning of a baseline that is trained alike and shown beside; None for none.
      output: the run's folder; the same command resumes what is there.
    """

    training: TrainingConfig = TrainingConfig()
    suites: tuple[str, ...] = ("libero_spatial", "libero_object")
    horizon: int = HORIZON
    held_out: float = 0.1
    against: Conditioning | None = "none"
    output: Path = Path("runs/ae/robust")

    def __post_init__(self) -> None:
        if self.against is not None:
            require_choice(self.against, Conditioning, "against")
        require_types(self)
        require(len(self.suites) > 0, "suites", "at least one", self.suites)
        require_range(self, 1, MAX_SIZE, "horizon")
        require(0 < self.held_out < 1, "held_out", "in (0, 1)", self.held_out)

    @property
    def conditioning(self) -> Conditioning:
        """What is trained."""
        return self.training.model.rfsq.conditioning

    @property
    def name(self) -> str:
        """What the trained tokenizer is called in tables."""
        return CONDITIONING_NAMES[self.conditioning]
