"""Llama-2: layers stacked on their first axis and scanned, or listed and run one by one.

Axes: L layers · B batch · S queries · M keys · H heads · D head dim · E width · V vocabulary.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rfsq_jax.backbones.openvla import spreading
from rfsq_jax.backbones.openvla.config import LlamaConfig
from rfsq_jax.backbones.openvla.layers import (
    attend,
    linear,
    rms_norm,
    run_part,
    run_stack,
    split_heads,
)

Pair = tuple[Array, Array]
Cache = Pair | list[Pair]
"""Keys, already rotated, and values: [L, B, M, H, D], or per layer [B, M, H, D]."""


def run_layers(
    layers: Any,
    config: LlamaConfig,
    x: Float[Array, "b s e"],
    lengths: Int[Array, " b"] | None,
    remat: bool = False,
    part: range | None = None,
) -> tuple[Float[Array, "b s e"], Cache]:
    """Runs layers over a whole sequence.

    Args:
      layers: their parameters, stacked or listed.
      config: sizes.
      x: embeddings, at positions 0, 1, ...
      lengths: how many positions, from the first, every query attends to; None for causal ones.
      remat: whether activations are computed again in a backward pass.
      part: which of the layers are run; all by default.

    Returns:
      The last layer's output, without the final norm, and the cache.
    """
    x = spreading.between(x)
    turns = rotations(config, jnp.arange(x.shape[1])[None], x.dtype)

    def step(x: Array, layer: dict[str, Any]) -> tuple[Array, Pair]:
        q, k, v = _project(layer, config, x, turns)
        # A TPU's compiler would make the values again for every block of scores.
        k, v = spreading.keys(k), spreading.keys(jax.lax.optimization_barrier(v))
        attended = attend(q, k, v, lengths, causal=lengths is None)
        return _finish(layer, config, x, attended), (k, v)

    kept = jax.checkpoint(step) if remat else step
    return run_stack(kept, x, layers) if part is None else run_part(kept, x, layers, part)


def run_step(
    layers: Any,
    config: LlamaConfig,
    x: Float[Array, "b 1 e"],
    cache: Cache,
    positions: Int[Array, " b"],
) -> tuple[Float[Array, "b 1 e"], Cache]:
    """Runs one token per sample, which goes into the cache at its position and sees all before."""
    turns = rotations(config, positions[:, None], x.dtype)
    samples = jnp.arange(len(x))

    def step(x: Array, inputs: tuple[dict[str, Any], Pair]) -> tuple[Array, Pair]:
        layer, (keys, values) = inputs
        q, k, v = _project(layer, config, x, turns)
        keys = keys.at[samples, positions].set(k[:, 0])
        values = values.at[samples, positions].set(v[:, 0])
        attended = attend(q, keys, values, positions + 1)
        return _finish(layer, config, x, attended), (keys, values)

    listed = isinstance(cache, list)
    return run_stack(step, x, list(zip(layers, cache, strict=True)) if listed else (layers, cache))


def final_norm(
    params: dict[str, Any], config: LlamaConfig, x: Float[Array, "*n e"]
) -> Float[Array, "*n e"]:
    """The norm after the last layer."""
    return rms_norm(params["norm"], x, config.epsilon)


def logits(params: dict[str, Any], x: Float[Array, "*n e"]) -> Float[Array, "*n v"]:
    """Normed hidden states -> logits of the next token."""
    return linear(params["lm_head"], x)


def rotations(config: LlamaConfig, positions: Int[Array, "b s"], dtype: Any) -> tuple[Array, Array]:
    """Cosine and sine [B, S, 1, D] by position, computed in float32."""
    exponents = jnp.arange(0, config.head_dim, 2, dtype=jnp.float32) / config.head_dim
    frequencies = 1.0 / config.rope_base**exponents
    angles = positions[..., None].astype(jnp.float32) * frequencies[None, None]
    angles = jnp.concatenate([angles, angles], axis=-1)[:, :, None]
    return jnp.cos(angles).astype(dtype), jnp.sin(angles).astype(dtype)


def _rotate(x: Float[Array, "b s h d"], turns: tuple[Array, Array]) -> Float[Array, "b s h d"]:
    first, second = jnp.split(x, 2, axis=-1)
    return x * turns[0] + jnp.concatenate([-second, first], axis=-1) * turns[1]


def _project(
    layer: dict[str, Any],
    config: LlamaConfig,
    x: Float[Array, "b s e"],
    turns: tuple[Array, Array],
) -> tuple[Array, Array, Array]:
    normed = spreading.gathered(rms_norm(layer["norm1"], x, config.epsilon))
    q, k, v = (split_heads(linear(layer[name], normed), config.heads) for name in "qkv")
    return _rotate(q, turns), _rotate(k, turns), v


def _finish(
    layer: dict[str, Any],
    config: LlamaConfig,
    x: Float[Array, "b s e"],
    attended: Float[Array, "b s h d"],
) -> Float[Array, "b s e"]:
    x = x + spreading.between(linear(layer["o"], attended.reshape(x.shape)))
    normed = spreading.gathered(rms_norm(layer["norm2"], x, config.epsilon))
    gated = jax.nn.silu(linear(layer["gate"], normed)) * linear(layer["up"], normed)
    return x + spreading.between(linear(layer["down"], gated))
