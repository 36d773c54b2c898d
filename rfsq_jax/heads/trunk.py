"""The part that all our heads share: step queries that attend the feature tokens.

Keys and values are made once and read by every block, since their products over all tokens are
what a small head spends its time on.

Axes: B batch · T steps of a chunk · S feature tokens · E their width · H hidden · N attention heads
of C channels.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rfsq_jax.backbones.protocol import Depth
from rfsq_jax.data.episodes import STATE_DIM
from rfsq_jax.heads.config import TrunkConfig
from rfsq_jax.rfsq.layers import AnyArray


class Trunk(nnx.Module):
    """Features and normalised state -> one hidden vector per step of the chunk."""

    def __init__(self, config: TrunkConfig, depth: Depth, horizon: int, *, rngs: nnx.Rngs) -> None:
        if config.blind and depth.image_tokens == depth.tokens:
            raise ValueError(
                f"blind must be False for this backbone: each of its {depth.tokens} tokens mixes "
                "pictures and words; give the backbone its option blind and make features again"
            )
        width, dtype = config.width, jnp.dtype(config.dtype)
        self.image_tokens = depth.image_tokens
        self.blind = config.blind
        self.num_heads = config.num_heads
        self.dtype = dtype
        self.feature_norm = nnx.LayerNorm(depth.width, rngs=rngs)
        self.memory = nnx.Linear(depth.width, 2 * width, dtype=dtype, rngs=rngs)
        self.position = _small_param(rngs, depth.tokens, 2 * width)
        self.instruction = nnx.Linear(depth.width, width, rngs=rngs)
        self.state = Mlp(STATE_DIM, 2 * width, width, dtype, rngs=rngs)
        self.queries = _small_param(rngs, horizon, width)
        self.blocks = nnx.List([Block(config, rngs=rngs) for _ in range(config.num_blocks)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)

    def __call__(
        self, features: Float[AnyArray, "b s e"], state: Float[AnyArray, "b 8"]
    ) -> Float[Array, "b t h"]:
        """Features of any float dtype and normalised states -> float32 [B, T, H]."""
        features = jnp.asarray(features, jnp.float32)
        if self.blind:
            features = features.at[:, : self.image_tokens].set(0)
        features = self.feature_norm(features)
        memory = self.memory(features) + self.position[...].astype(self.dtype)[None]
        keys, values = (split_heads(x, self.num_heads) for x in jnp.split(memory, 2, axis=-1))
        hidden = self.queries[...][None] + self._context(features, state)[:, None]
        for block in self.blocks:
            hidden = block(hidden, keys, values)
        return self.norm(hidden)

    def _context(
        self, features: Float[Array, "b s e"], state: Float[AnyArray, "b 8"]
    ) -> Float[Array, "b h"]:
        """What every step should know at once: the state, and the tokens that show no picture."""
        context = self.state(jnp.asarray(state)).astype(jnp.float32)
        words = features[:, self.image_tokens :]
        return context + self.instruction(words.mean(axis=1)) if words.shape[1] else context


class Block(nnx.Module):
    """Cross-attention to the memory, self-attention over the steps, MLP; pre-norm, residual."""

    def __init__(self, config: TrunkConfig, *, rngs: nnx.Rngs) -> None:
        width, dtype = config.width, jnp.dtype(config.dtype)
        self.num_heads = config.num_heads
        self.norms = nnx.List([nnx.LayerNorm(width, rngs=rngs) for _ in range(3)])
        self.query = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.read = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.steps = nnx.Linear(width, 3 * width, dtype=dtype, rngs=rngs)
        self.mix = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.mlp = Mlp(width, config.mlp_ratio * width, width, dtype, rngs=rngs)

    def __call__(
        self,
        hidden: Float[Array, "b t h"],
        keys: Float[Array, "b s n c"],
        values: Float[Array, "b s n c"],
    ) -> Float[Array, "b t h"]:
        """Hidden vectors, and what they may read -> hidden vectors."""
        query = split_heads(self.query(self.norms[0](hidden)), self.num_heads)
        hidden = hidden + self.read(attend(query, keys, values))
        parts = jnp.split(self.steps(self.norms[1](hidden)), 3, axis=-1)
        hidden = hidden + self.mix(attend(*(split_heads(x, self.num_heads) for x in parts)))
        return hidden + self.mlp(self.norms[2](hidden))


class Mlp(nnx.Module):
    """Linear, GELU, Linear."""

    def __init__(
        self, inputs: int, hidden: int, outputs: int, dtype: jnp.dtype, *, rngs: nnx.Rngs
    ) -> None:
        self.up = nnx.Linear(inputs, hidden, dtype=dtype, rngs=rngs)
        self.down = nnx.Linear(hidden, outputs, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "*b i"]) -> Float[Array, "*b o"]:
        """Acts on the last axis."""
        return self.down(nnx.gelu(self.up(x)))


def attend(
    query: Float[Array, "b t n c"], keys: Float[Array, "b s n c"], values: Float[Array, "b s n c"]
) -> Float[Array, "b t h"]:
    """Softmax attention, heads merged again."""
    return jax.nn.dot_product_attention(query, keys, values).reshape(*query.shape[:2], -1)


def split_heads(x: Float[Array, "b s h"], num_heads: int) -> Float[Array, "b s n c"]:
    """H -> N heads of H / N."""
    return x.reshape(*x.shape[:-1], num_heads, -1)


def _small_param(rngs: nnx.Rngs, *shape: int) -> nnx.Param:
    return nnx.Param(0.02 * jax.random.normal(rngs.params(), shape))
