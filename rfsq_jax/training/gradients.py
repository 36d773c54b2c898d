"""Gradients of batches that are larger than what a device can hold at once.

Axes: B rows of a batch · M parts of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rfsq_jax.training.loop import Metrics

Objective = Callable[..., tuple[Array, Metrics]]
"""(parameters, batch, key, anything) -> loss, metrics; both means over the rows."""


def gradient_in_parts(objective: Objective, parts: int) -> Callable[..., tuple[Metrics, Any]]:
    """Returns a function like `objective` that gives metrics and gradients, one part at a time.

    The parts are of the same size, so means over them are means over the batch. Each has a key of
    its own.

    Args:
      objective: traceable.
      parts: M, by which the batch can be divided.
    """
    gradient = jax.grad(objective, has_aux=True)

    def whole(params: Any, batch: Any, key: Array, *rest: Any) -> tuple[Metrics, Any]:
        gradients, metrics = gradient(params, batch, key, *rest)
        return metrics, gradients

    def in_parts(params: Any, batch: Any, key: Array, *rest: Any) -> tuple[Metrics, Any]:
        def add(totals: Any, part: tuple[Any, Array]) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, totals, whole(params, *part, *rest)), None

        stacked = (
            jax.tree.map(lambda leaf: _split(leaf, parts), batch),
            jax.random.split(key, parts),
        )
        first = jax.tree.map(lambda leaf: leaf[0], stacked)
        shapes = jax.eval_shape(lambda part: whole(params, *part, *rest), first)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        totals, _ = jax.lax.scan(add, zeros, stacked)
        return jax.tree.map(lambda total: total / parts, totals)

    return whole if parts == 1 else in_parts


def _split(leaf: Array, parts: int) -> Array:
    """[B, ...] -> [M, B / M, ...]; every device gives some of its rows to every part."""
    return jnp.swapaxes(leaf.reshape(-1, parts, *leaf.shape[1:]), 0, 1)
