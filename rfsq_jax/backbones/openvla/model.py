"""The sequences of OpenVLA and OpenVLA-OFT, and what is read off them.

A sequence is BOS, image tokens, perhaps one token of the robot's state, the rest of the prompt;
in OFT then a zero vector per number of the chunk, and the stop token. Prompts of different lengths
share a batch: they are padded at the end, and what stands after a sequence is not attended to.

Axes: B batch · N images · H, W pixels · T prompt tokens with padding · P tokens before the prompt's
second · S sequence · A slots · E width · K decoded tokens.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rfsq_jax.backbones.openvla import llama, spreading
from rfsq_jax.backbones.openvla.config import OFTConfig, OpenVLAConfig
from rfsq_jax.backbones.openvla.layers import (
    TORCH_EPSILON,
    gelu_mlp,
    layer_norm,
    linear,
    run_stack,
)
from rfsq_jax.backbones.openvla.vision import see
from rfsq_jax.runs.trees import Params

STOP = 2
ACTION_TOKENS = 7


class Sequence(NamedTuple):
    """What goes through the language model's layers.

    Attributes:
      x: embeddings, or what a layer has made of them.
      used: how many positions, from the first, are attended to; None where attention is causal.
      read: the positions whose hidden states are features.
    """

    x: Float[Array, "b s e"]
    used: Int[Array, " b"] | None
    read: Int[Array, "b a"]


def image_tokens(
    params: Params,
    config: OpenVLAConfig,
    pixels: Float[Array, "b n h w 6"],
    remat: bool = False,
) -> Float[Array, "b p e"]:
    """Pixels -> tokens of the language model's width."""
    return gelu_mlp(params["projector"], see(params["vision"], config, pixels, remat))


def base_hidden(
    params: Params,
    config: OpenVLAConfig,
    pixels: Float[Array, "b n h w 6"],
    prompt: Int[Array, "b t"],
    remat: bool = False,
) -> tuple[Float[Array, "b s e"], llama.Cache]:
    """The base model: causal. Returns the hidden states after the final norm, and the cache."""
    x = _splice(params["llm"]["embed"][prompt], image_tokens(params, config, pixels, remat))
    x, cache = llama.run_layers(params["llm"]["layers"], config.llama, x, None, remat)
    return llama.final_norm(params["llm"], config.llama, x), cache


def decode(
    params: Params,
    config: OpenVLAConfig,
    pixels: Float[Array, "b n h w 6"],
    prompt: Int[Array, "b t"],
    lengths: Int[Array, " b"],
) -> Int[Array, "b k"]:
    """The base model's seven action tokens, greedily over the whole vocabulary."""
    hidden, cache = base_hidden(params, config, pixels, prompt)
    # The last prompt token; image tokens stand between the first and the second.
    last = hidden.shape[1] - prompt.shape[1] + lengths - 1
    room = ((0, ACTION_TOKENS - 1), (0, 0), (0, 0))
    cache = jax.tree.map(lambda each: jnp.pad(each, ((0, 0),) * (each.ndim - 3) + room), cache)
    first = _best(params, jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, 0])
    others = follow(params, config, first, cache, last + 1)
    return jnp.concatenate([first[:, None], others], axis=1)


def follow(
    params: Params,
    config: OpenVLAConfig,
    token: Int[Array, " b"],
    cache: llama.Cache,
    position: Int[Array, " b"],
) -> Int[Array, "b k"]:
    """The tokens after the first, whose position is given; the cache has room for them."""

    def step(carry: tuple[Array, llama.Cache, Array], _: None) -> tuple[Any, Array]:
        token, cache, position = carry
        x = params["llm"]["embed"][token][:, None]
        x, cache = llama.run_step(params["llm"]["layers"], config.llama, x, cache, position)
        token = _best(params, llama.final_norm(params["llm"], config.llama, x)[:, 0])
        return (token, cache, position + 1), token

    carry = (token, cache, position)
    return jax.lax.scan(step, carry, None, length=ACTION_TOKENS - 1)[1].T


def oft_hidden(
    params: Params,
    config: OpenVLAConfig,
    pixels: Float[Array, "b n h w 6"],
    prompt: Int[Array, "b t"],
    lengths: Int[Array, " b"],
    state: Float[Array, "b d"] | None = None,
    remat: bool = False,
) -> Float[Array, "b a e"]:
    """OFT's action states: bidirectional, after the final norm.

    Args:
      params: see `layout`.
      config: with `oft`.
      pixels: normalised, the scene's image first.
      prompt: token ids, padded at the end.
      lengths: of the prompts.
      state: normalised, if the model takes it.
      remat: whether activations are computed again in a backward pass.

    Raises:
      ValueError: if the state is missing, or given to a model that does not take it.
    """
    require_oft(config)
    images = image_tokens(params, config, pixels, remat)
    sequence = oft_sequence(params, config, images, prompt, lengths, state)
    return final_states(params, config, run(params, config, sequence, remat=remat))


def base_sequence(
    params: Params,
    images: Float[Array, "b p e"],
    prompt: Int[Array, "b t"],
    lengths: Int[Array, " b"],
) -> Sequence:
    """The base model's sequence around image tokens; read at the prompt's last token."""
    x = _splice(params["llm"]["embed"][prompt], images)
    return Sequence(x, None, (images.shape[1] + lengths - 1)[:, None])


def oft_sequence(
    params: Params,
    config: OpenVLAConfig,
    images: Float[Array, "b p e"],
    prompt: Int[Array, "b t"],
    lengths: Int[Array, " b"],
    state: Float[Array, "b d"] | None = None,
) -> Sequence:
    """OFT's sequence around image tokens; arguments and errors as in `oft_hidden`."""
    oft = require_oft(config)
    if (state is not None) != oft.proprio:
        wanted = "given" if oft.proprio else "None: this model takes none"
        raise ValueError(f"state must be {wanted}, got {'None' if state is None else 'one'}")
    text = _slotted(params["llm"]["embed"], oft, prompt, lengths)
    between = [images]
    if state is not None:
        between.append(gelu_mlp(params["proprio"], state.astype(text.dtype))[:, None])
    x = _splice(text, *between)
    before = x.shape[1] - text.shape[1]
    # A slot is read one position before it, as the next token would be.
    read = (before + lengths - 1)[:, None] + jnp.arange(oft.slots)[None]
    return Sequence(spreading.padded(x), before + lengths + oft.slots + 1, read)


def run(
    params: Params,
    config: OpenVLAConfig,
    sequence: Sequence,
    part: range | None = None,
    remat: bool = False,
) -> Sequence:
    """Runs the language model's layers, or a part of them in a row, without the final norm."""
    layers, llm = params["llm"]["layers"], config.llama
    x, _ = llama.run_layers(layers, llm, sequence.x, sequence.used, remat, part)
    return sequence._replace(x=x)


def read_off(sequence: Sequence) -> Float[Array, "b a e"]:
    """The hidden states at the positions that are read."""
    return jnp.take_along_axis(sequence.x, sequence.read[..., None], axis=1)


def final_states(
    params: Params, config: OpenVLAConfig, sequence: Sequence
) -> Float[Array, "b a e"]:
    """The same after the final norm, for a sequence that has been through all layers."""
    return llama.final_norm(params["llm"], config.llama, read_off(sequence))


def regress(
    head: Params, config: OpenVLAConfig, states: Float[Array, "b a e"]
) -> Float[Array, "b horizon dim"]:
    """The L1 head: action states -> a normalised chunk."""
    x = states.reshape(len(states), require_oft(config).horizon, -1)
    x = jax.nn.relu(linear(head["fc1"], layer_norm(head["norm1"], x, TORCH_EPSILON)))

    def step(x: Array, block: Params) -> tuple[Array, None]:
        normed = layer_norm(block["norm"], x, TORCH_EPSILON)
        return x + jax.nn.relu(linear(block["fc"], normed)), None

    x, _ = run_stack(step, x, head["blocks"])
    return linear(head["fc2"], layer_norm(head["norm2"], x, TORCH_EPSILON))


def require_oft(config: OpenVLAConfig) -> OFTConfig:
    """Raises a ValueError for the base model."""
    if config.oft is None:
        raise ValueError("config.oft must be given: the base model has no action slots")
    return config.oft


def _splice(text: Float[Array, "b t e"], *between: Float[Array, "b _ e"]) -> Float[Array, "b s e"]:
    """Puts tokens after BOS."""
    return jnp.concatenate([text[:, :1], *between, text[:, 1:]], axis=1)


def _slotted(
    table: Float[Array, "v e"],
    oft: OFTConfig,
    prompt: Int[Array, "b t"],
    lengths: Int[Array, " b"],
) -> Float[Array, "b s e"]:
    """Embeddings of prompt, slots and stop token; then padding."""
    index = jnp.arange(prompt.shape[1] + oft.slots + 1)[None]
    stop = (lengths + oft.slots)[:, None]
    ids = jnp.pad(prompt, ((0, 0), (0, oft.slots + 1)))
    ids = jnp.where(index == stop, STOP, ids)
    embedded = table[ids]
    blank = (index >= lengths[:, None]) & (index != stop)
    return jnp.where(blank[..., None], 0, embedded)


def _best(params: Params, hidden: Float[Array, "b e"]) -> Int[Array, " b"]:
    return jnp.argmax(llama.logits(params["llm"], hidden), axis=-1)
