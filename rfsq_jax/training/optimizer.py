"""The optimiser that every run uses."""

from __future__ import annotations

import dataclasses

import optax


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a linear warm-up and a cosine decay to `final_fraction` of the peak.

    Attributes:
      learning_rate: at the peak.
      warmup_steps: at most; a tenth of a short run.
      final_fraction: the last learning rate over the peak.
      weight_decay: decoupled.
      clip_norm: where a gradient's global norm is cut; None never cuts.
    """

    learning_rate: float = 3e-3
    warmup_steps: int = 500
    final_fraction: float = 1e-3
    weight_decay: float = 1e-6
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ValueError(f"clip_norm must be above 0, got {self.clip_norm}")

    def build(self, steps: int) -> optax.GradientTransformation:
        """Returns the optimiser of a run of `steps` steps."""
        peak = self.learning_rate
        warmup = min(self.warmup_steps, steps // 10)
        schedule = optax.warmup_cosine_decay_schedule(
            0.0, peak, warmup, steps, peak * self.final_fraction
        )
        optimizer = optax.adamw(schedule, weight_decay=self.weight_decay)
        if self.clip_norm is None:
            return optimizer
        return optax.chain(optax.clip_by_global_norm(self.clip_norm), optimizer)
