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
      optimizer: the optimiser's state.
      model: what the model moves itself, such as tracked statistics.
    """

    # Any: tree maps rebuild the state around shardings and shapes, which are no arrays.
    step: Any
    params: Any
    optimizer: Any
    model: Any

    @classmethod
    def create(cls, params: Any, model: Any, optimizer: optax.GradientTransformation) -> TrainState:
        """Returns the state before the first step."""
        return cls(jnp.zeros((), jnp.int32), params, optimizer.init(params), model)

    def updated(
        self, gradients: Any, model: Any, optimizer: optax.GradientTransformation
    ) -> TrainState:
        """Returns the state after one step of the optimiser."""
        updates, moments = optimizer.update(gradients, self.optimizer, self.params)
        return TrainState(self.step + 1, optax.apply_updates(self.params, updates), moments, model)
