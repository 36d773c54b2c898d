"""A small attention probe that says where the named object is.

Axes: B batch · N, M scenes · S feature tokens · E their width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from rfsq_jax.backbones.protocol import Depth
from rfsq_jax.heads.config import TrunkConfig
from rfsq_jax.heads.trunk import Trunk


class PositionProbe(nnx.Module):
    """Where the named object is, from feature tokens."""

    def __init__(self, depth: Depth, *, rngs: nnx.Rngs) -> None:
        self.trunk = Trunk(TrunkConfig(width=64, num_heads=4), depth, 1, rngs=rngs)
        self.out = nnx.Linear(64, 2, rngs=rngs)

    def __call__(self, features: Float[Array, "b s e"]) -> Float[Array, "b 2"]:
        """Features -> standardised x, y."""
        return self.out(self.trunk(features, jnp.zeros((len(features), 8))))[:, 0]


def fit_probe(
    seed: int,
    steps: int,
    depth: Depth,
    features: Float[np.ndarray, "n s e"],
    goal: Float[np.ndarray, "n 2"],
) -> Callable[[Float[np.ndarray, "m s e"]], Float[np.ndarray, "m 2"]]:
    """Trains on standardised places of the named objects; returns features -> places."""
    graph, params = nnx.split(PositionProbe(depth, rngs=nnx.Rngs(seed)))
    schedule = optax.warmup_cosine_decay_schedule(0.0, 1e-3, steps // 10, steps)
    optimizer = optax.adamw(schedule, weight_decay=0.05)

    def loss(params: Any, features: Array, goal: Array) -> Array:
        return jnp.mean(jnp.square(nnx.merge(graph, params)(features) - goal))

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def run(params: Any, moments: Any, keys: Array) -> tuple[Any, Any]:
        def step(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], None]:
            params, moments = carry
            rows = jax.random.randint(key, (32,), 0, len(features))
            dropped = jax.random.bernoulli(key, 0.9, (32, features.shape[1], 1))
            batch = jnp.where(dropped, jnp.asarray(features)[rows], 0)
            gradients = jax.grad(loss)(params, batch, jnp.asarray(goal)[rows])
            updates, moments = optimizer.update(gradients, moments, params)
            return (optax.apply_updates(params, updates), moments), None

        return jax.lax.scan(step, (params, moments), keys)[0]

    keys = jax.random.split(jax.random.key(seed), steps)
    params, _ = run(params, optimizer.init(params), keys)
    predict = jax.jit(lambda features: nnx.merge(graph, params)(features))
    return lambda features: np.asarray(predict(features))
