"""What one run of train.ae is made of; the files in configs/ build these."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rfsq_jax.data.chunks import HORIZON
from rfsq_jax.rfsq import CONDITIONING_NAMES, Conditioning
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

    @property
    def name(self) -> str:
        """What the trained tokenizer is called in tables."""
        return CONDITIONING_NAMES[self.training.model.rfsq.conditioning]
