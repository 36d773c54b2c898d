"""What token heads minimise.

Axes: B batch · T steps of a chunk · D latent dims · L layers · K levels; ... any leading axes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rfsq_jax.rfsq.layers import AnyArray


def level_targets(
    codes: Int[AnyArray, "*n"], num_levels: int, smoothing: float = 0.0
) -> Float[Array, "*n k"]:
    """Target distributions: `smoothing` of the mass goes to the neighbouring levels.

    A level beside the right one is nearly the right action, one far off is not, so the mass is not
    spread over all levels. At an edge the only neighbour takes it all.
    """
    codes = jnp.asarray(codes)[..., None]
    levels = jax.lax.broadcasted_iota(codes.dtype, (*codes.shape[:-1], num_levels), codes.ndim - 1)
    distance = jnp.abs(levels - codes)
    beside = (distance == 1).astype(jnp.float32)
    beside = beside / beside.sum(axis=-1, keepdims=True)
    return (1.0 - smoothing) * (distance == 0) + smoothing * beside


def cross_entropy(
    logits: Float[AnyArray, "*n l k"],
    codes: Int[AnyArray, "*n l"],
    weights: Float[Array, " l"],
    smoothing: float = 0.0,
) -> Float[Array, ""]:
    """Mean cross-entropy, layers weighted; nats per token."""
    targets = level_targets(codes, logits.shape[-1], smoothing)
    losses = -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)
    per_layer = losses.mean(axis=tuple(range(losses.ndim - 1)))
    return jnp.sum(per_layer * weights) / jnp.sum(weights)


def imbalance(logits: Float[AnyArray, "*n l k"], codes: Int[AnyArray, "*n l"]) -> Float[Array, ""]:
    """KL divergence from the batch's true use of levels to the predicted one, per layer; nats.

    Predictions that always name the majority level score well token by token; their average use
    of levels does not. (The token-balance regularisation of ProAct, on the predictor's side.)
    """
    axes = tuple(range(codes.ndim - 1))
    used = jax.nn.one_hot(codes, logits.shape[-1]).mean(axis=axes)
    predicted = jax.nn.softmax(logits).mean(axis=axes)
    ratio = jnp.log(jnp.maximum(used, 1e-9)) - jnp.log(jnp.maximum(predicted, 1e-9))
    return jnp.mean(jnp.sum(used * ratio, axis=-1))


def perturb(
    key: Array, codes: Int[AnyArray, "*n"], num_levels: int, share: float
) -> Int[Array, "*n"]:
    """Moves a share of the codes by one level, up or down, within the levels."""
    chosen_key, sign_key = jax.random.split(key)
    chosen = jax.random.bernoulli(chosen_key, share, codes.shape)
    shift = jnp.where(jax.random.bernoulli(sign_key, 0.5, codes.shape), 1, -1)
    return jnp.where(chosen, jnp.clip(codes + shift, 0, num_levels - 1), codes)


def replace_steps(
    key: Array, codes: Int[AnyArray, "b t d l"], own: Int[Array, "b t d l"], share: Float[Array, ""]
) -> Int[Array, "b t d l"]:
    """Takes a head's own codes instead of the true ones for a share of the steps, whole steps."""
    chosen: Bool[Array, "b t"] = jax.random.bernoulli(key, share, codes.shape[:2])
    return jnp.where(chosen[..., None, None], own, codes)
