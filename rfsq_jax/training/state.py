"""The state that a training step takes and returns."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax


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
