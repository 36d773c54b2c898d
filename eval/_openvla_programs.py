"""What is timed and compiled of OpenVLA: its inputs, the whole, and each part alone.

Axes: B batch · N images · S sequence · E width.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rfsq_jax.backbones.openvla import llama, model
from rfsq_jax.backbones.openvla.config import OpenVLAConfig

Params = dict[str, Any]


def chunk(params: Params, config: OpenVLAConfig, *inputs: Array) -> Float[Array, "b t a"]:
    """OFT: inputs -> a normalised chunk."""
    return model.regress(params["head"], config, model.oft_hidden(params, config, *inputs))


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
