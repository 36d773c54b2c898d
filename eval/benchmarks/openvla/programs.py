"""What is timed and compiled of OpenVLA: its inputs, the whole, and each part alone.

Axes: B batch · N images · S sequence · T steps · A action dims · E width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from eval.benchmarks.openvla.cost import sequence_length
from rfsq_jax.backbones.openvla import llama, model, vision
from rfsq_jax.backbones.openvla.config import OpenVLAConfig
from rfsq_jax.backbones.openvla.layers import gelu_mlp

WHOLE = "whole"
Params = dict[str, Any]
# A function of parameters, config and inputs, and the inputs.
Program = tuple[Callable[..., Any], tuple[Any, ...]]


def chunk(
    params: Params,
    config: OpenVLAConfig,
    pixels: Array,
    prompt: Array,
    lengths: Array,
    state: Array | None = None,
) -> Float[Array, "b t a"]:
    """OFT: inputs -> a normalised chunk."""
    states = model.oft_hidden(params, config, pixels, prompt, lengths, state)
    return model.regress(params["head"], config, states)


def first_token(
    params: Params, config: OpenVLAConfig, pixels: Array, prompt: Array, lengths: Array
) -> tuple[Int[Array, " b"], llama.Cache]:
    """The base model's prefill: its first token, and the cache."""
    hidden, cache = model.base_hidden(params, config, pixels, prompt)
    last = hidden.shape[1] - prompt.shape[1] + lengths - 1
    hidden = jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, 0]
    return jnp.argmax(llama.logits(params["llm"], hidden), axis=-1), cache


def abstract_inputs(
    config: OpenVLAConfig, images: int, prompt: int, batch: int, dtype: Any = jnp.bfloat16
) -> tuple[jax.ShapeDtypeStruct, ...]:
    """Shapes of pixels, prompt, lengths and, where the model takes it, state."""
    size = config.image_size
    shapes = [
        jax.ShapeDtypeStruct((batch, images, size, size, 6), dtype),
        jax.ShapeDtypeStruct((batch, prompt), jnp.int32),
        jax.ShapeDtypeStruct((batch,), jnp.int32),
    ]
    if config.oft and config.oft.proprio:
        shapes.append(jax.ShapeDtypeStruct((batch, config.oft.state_dim), dtype))
    return tuple(shapes)


def made_up_inputs(
    config: OpenVLAConfig, images: int, prompt: int, batch: int, dtype: Any
) -> tuple[Array, ...]:
    """As `abstract_inputs`, with values on the device."""
    pixels, ids, _, *state = abstract_inputs(config, images, prompt, batch, dtype)
    tokens = jax.random.randint(jax.random.key(2), ids.shape, 3, config.llama.vocabulary)
    return _noise(pixels), tokens, jnp.full(batch, prompt), *map(_noise, state)


def programs(
    config: OpenVLAConfig, images: int, prompt: int, batch: int, dtype: Any, listed: bool
) -> dict[str, Program]:
    """The whole and its parts, named as in `cost.cost_parts`."""
    inputs = made_up_inputs(config, images, prompt, batch, dtype)
    seen = _noise((batch, images * config.patches, config.vision_width), dtype)
    length = sequence_length(config, images, prompt)
    x = _noise((batch, length, config.llama.width), dtype)
    several: dict[str, Program] = {
        WHOLE: (chunk if config.oft else model.decode, inputs),
        "vision": (_see, (inputs[0],)),
        "projector": (_project, (seen,)),
    }
    if config.oft:
        states = _noise((batch, config.oft.slots, config.llama.width), dtype)
        return several | {
            "LLM": (_run, (x, jnp.full(batch, length))),
            "head": (_regress, (states,)),
        }
    token, position = jnp.full(batch, 3), jnp.full(batch, length)
    cache = _empty_cache(config, batch, length + model.ACTION_TOKENS - 1, dtype, listed)
    return several | {
        "prefill": (_prefill, (x,)),
        "decode": (model.follow, (token, cache, position)),
    }


def _see(params: Params, config: OpenVLAConfig, pixels: Array) -> Array:
    return vision.see(params["vision"], config, pixels)


def _project(params: Params, config: OpenVLAConfig, seen: Array) -> Array:
    return gelu_mlp(params["projector"], seen)


def _run(params: Params, config: OpenVLAConfig, x: Array, lengths: Array) -> Array:
    x, _ = llama.run_layers(params["llm"]["layers"], config.llama, x, lengths)
    return llama.final_norm(params["llm"], config.llama, x)


def _prefill(params: Params, config: OpenVLAConfig, x: Array) -> tuple[Array, llama.Cache]:
    x, cache = llama.run_layers(params["llm"]["layers"], config.llama, x, None)
    last = llama.final_norm(params["llm"], config.llama, x[:, -1])
    return jnp.argmax(llama.logits(params["llm"], last), axis=-1), cache


def _regress(params: Params, config: OpenVLAConfig, states: Array) -> Array:
    return model.regress(params["head"], config, states)


def _empty_cache(
    config: OpenVLAConfig, batch: int, room: int, dtype: Any, listed: bool
) -> llama.Cache:
    shape = (batch, room, config.llama.heads, config.llama.head_dim)
    if listed:
        return [
            (jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for _ in range(config.llama.depth)
        ]
    stacked = (config.llama.depth, *shape)
    return jnp.zeros(stacked, dtype), jnp.zeros(stacked, dtype)


def _noise(shape: Any, dtype: Any = None) -> Array:
    """Noise of a shape and dtype, or of those of a struct."""
    shape, dtype = (shape, dtype) if dtype is not None else (shape.shape, shape.dtype)
    return jax.random.normal(jax.random.key(1), shape, dtype)
