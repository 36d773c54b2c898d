"""What the vision towers, the language model and the heads are built of.

Parameters are dicts: a linear map has `kernel` [I, O] and perhaps `bias`, a norm `scale` and
perhaps `bias`. Norms and softmax are computed in float32, everything else in the input's dtype.

Axes: ... leading · B batch · S tokens · M keys · H heads · D head dim · I, O, E widths.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

VIT_EPSILON = 1e-6
TORCH_EPSILON = 1e-5
LANES, MOST_PADDING = 128, 0.1

# A layer's inputs, and what it carries on and gives out.
Step = Callable[[Any, Any], tuple[Any, Any]]


def linear(params: dict[str, Any], x: Float[Array, "*n i"]) -> Float[Array, "*n o"]:
    """x @ kernel (+ bias)."""
    y = x @ params["kernel"]
    return y + along(params["bias"], y) if "bias" in params else y


def layer_norm(
    params: dict[str, Any], x: Float[Array, "*n e"], epsilon: float
) -> Float[Array, "*n e"]:
    """Mean 0 and variance 1 in float32, then scale and bias."""
    wide = x.astype(jnp.float32)
    centred = wide - wide.mean(-1, keepdims=True)
    variance = jnp.square(centred).mean(-1, keepdims=True)
    y = centred * jax.lax.rsqrt(variance + epsilon)
    scale, bias = (params[name].astype(jnp.float32) for name in ("scale", "bias"))
    return (y * along(scale, y) + along(bias, y)).astype(x.dtype)


def rms_norm(
    params: dict[str, Any], x: Float[Array, "*n e"], epsilon: float
) -> Float[Array, "*n e"]:
    """Mean square 1 in float32; cast back before the scale, as the released model is run."""
    wide = x.astype(jnp.float32)
    ratio = jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + epsilon)
    y = (wide * ratio).astype(x.dtype)
    return y * along(params["scale"], y)


def gelu(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The exact GELU, in every part of the model that has one."""
    return jax.nn.gelu(x, approximate=False)


def gelu_mlp(params: dict[str, Any], x: Float[Array, "*n i"]) -> Float[Array, "*n o"]:
    """fc1, fc2 ... with a GELU between each two."""
    first, *others = (params[name] for name in sorted(params) if name.startswith("fc"))
    x = linear(first, x)
    for each in others:
        x = linear(each, gelu(x))
    return x


def split_heads(x: Float[Array, "b s e"], heads: int) -> Float[Array, "b s h d"]:
    """Heads are contiguous in the width."""
    return x.reshape(*x.shape[:2], heads, -1)


def attend(
    q: Float[Array, "b s h d"],
    k: Float[Array, "b m h d"],
    v: Float[Array, "b m h d"],
    lengths: Int[Array, " b"] | None = None,
    causal: bool = False,
) -> Float[Array, "b s h d"]:
    """Attention to the first `lengths` keys, to all by default, or to none that comes later."""
    # cuDNN's fused kernel, where it has one, spares the scores their way through memory.
    fused = jax.default_backend() == "gpu" and q.dtype == jnp.bfloat16 and q.shape[-1] % 8 == 0
    fused = fused and q.shape[1] > 1
    queries, keys = q.shape[1], k.shape[1]
    if not fused and queries > 1 and (_rounded(queries), _rounded(keys)) != (queries, keys):
        q, k, v = (_padded(each) for each in (q, k, v))
        lengths = jnp.full(len(q), keys) if lengths is None else lengths
    answer = jax.nn.dot_product_attention(
        q,
        k,
        v,
        is_causal=causal,
        key_value_seq_lengths=None if lengths is None else lengths.astype(jnp.int32),
        implementation="cudnn" if fused else "xla",
    )
    return answer[:, :queries]


def _padded(x: Float[Array, "b s h d"]) -> Float[Array, "b n h d"]:
    more = _rounded(x.shape[1]) - x.shape[1]
    return jnp.pad(x, ((0, 0), (0, more), (0, 0), (0, 0)))


def _rounded(tokens: int) -> int:
    """The next multiple of a TPU's lanes, if that is near: scores of other sizes are rearranged."""
    whole = -(-tokens // LANES) * LANES
    return whole if whole <= tokens * (1.0 + MOST_PADDING) else tokens


def run_stack(step: Step, x: Any, layers: Any) -> tuple[Any, Any]:
    """Runs layers one after the other.

    Args:
      step: (x, a layer) -> (x, output).
      x: what goes into the first.
      layers: stacked on the first axis of every leaf, or a list with one entry per layer. A stack
        is scanned: it compiles fast, but on GPUs each layer's weights are copied out of it first.

    Returns:
      What the last layer gives, and the outputs, stacked or listed as the layers are.
    """
    if not isinstance(layers, list):
        return jax.lax.scan(step, x, layers)
    outputs = []
    for layer in layers:
        x, output = step(x, layer)
        outputs.append(output)
    return x, outputs


def run_part(step: Step, x: Any, layers: Any, part: range) -> tuple[Any, Any]:
    """As `run_stack`, of a few layers in a row, which are read where they are: no stack is cut."""
    if isinstance(layers, list):
        return run_stack(step, x, layers[part.start : part.stop])

    def indexed(x: Any, index: Array) -> tuple[Any, Any]:
        layer = jax.tree.map(
            lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, 0, False), layers
        )
        return step(x, layer)

    return jax.lax.scan(indexed, x, jnp.arange(part.start, part.stop))


def along(vector: Float[Array, " e"], x: Float[Array, "*n e"]) -> Float[Array, "*n e"]:
    """A vector over the last axis, for every position of x."""
    return jnp.broadcast_to(vector, x.shape)
