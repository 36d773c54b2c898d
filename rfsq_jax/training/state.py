"""The state that a training step takes and returns, and the optimiser that moves it."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rfsq_jax.runs.canonical import added
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.records import require_types


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a linear warm-up and a cosine decay to `final_fraction` of the peak.

    Attributes:
      learning_rate: at the peak.
      warmup_steps: at most; a tenth of a short run.
      final_fraction: the last learning rate over the peak.
      weight_decay: decoupled.
      clip_norm: where a gradient's global norm is cut; None never cuts.
      second_decay: of the moving average of squared gradients.
    """

    learning_rate: float = 3e-3
    warmup_steps: int = 500
    final_fraction: float = 1e-3
    weight_decay: float = 1e-6
    clip_norm: float | None = None
    second_decay: float = added(0.999)

    def __post_init__(self) -> None:
        require_types(self)
        require(self.learning_rate > 0, "learning_rate", "above 0", self.learning_rate)
        require(self.warmup_steps >= 0, "warmup_steps", "0 or more", self.warmup_steps)
        fraction = self.final_fraction
        require(0 <= fraction <= 1, "final_fraction", "in [0, 1]", fraction)
        require(self.weight_decay >= 0, "weight_decay", "0 or more", self.weight_decay)
        cuts = self.clip_norm is None or self.clip_norm > 0
        require(cuts, "clip_norm", "above 0", self.clip_norm)
        require(0 <= self.second_decay < 1, "second_decay", "in [0, 1)", self.second_decay)

    def build(self, steps: int) -> optax.GradientTransformation:
        """Returns the optimiser of a run of `steps` steps."""
        peak = self.learning_rate
        warmup = min(self.warmup_steps, steps // 10)
        schedule = optax.warmup_cosine_decay_schedule(
            0.0, peak, warmup, steps, peak * self.final_fraction
        )
        decay, b2 = self.weight_decay, self.second_decay
        optimizer = optax.adamw(schedule, b2=b2, weight_decay=decay)
        if self.clip_norm is None:
            return optimizer
        return optax.chain(optax.clip_by_global_norm(self.clip_norm), optimizer)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that changes from step to step; a pytree of arrays.

    Attributes:
      step: int32 [], steps taken.
      params: what the gradient moves.
      opt_state: the optimiser's state.
      model_state: what the model moves itself, such as tracked statistics; None without any.
      ema_params: moving averages of the parameters; None where nothing needs them.
    """

    # Any: tree maps rebuild the state around shardings and shapes, which are no arrays.
    step: Any
    params: Any
    opt_state: Any
    model_state: Any = None
    ema_params: Any = None

    @classmethod
    def create(
        cls,
        params: Any,
        optimizer: optax.GradientTransformation,
        *,
        model_state: Any = None,
        ema_params: Any = None,
    ) -> TrainState:
        """Returns the state before the first step."""
        step = jnp.zeros((), jnp.int32)
        return cls(step, params, optimizer.init(params), model_state, ema_params)

    def updated(
        self, gradients: Any, optimizer: optax.GradientTransformation, **changes: Any
    ) -> TrainState:
        """Returns the state after one step of the optimiser, and other `changes` of fields."""
        updates, opt_state = optimizer.update(gradients, self.opt_state, self.params)
        params = optax.apply_updates(self.params, updates)
        step = self.step + 1
        return dataclasses.replace(self, step=step, params=params, opt_state=opt_state, **changes)
