"""The heads, all on one trunk; each predicts a whole chunk at once.

Of codes: main, all layers coarse to fine, and draft, the first layers only. To be beaten: 256 bins
per value, and continuous L1 regression.

Axes: B batch · T steps of a chunk · D latent dims · L residual layers, of which P coarse ·
K levels or bins · A action dims · S feature tokens · E their width · H hidden.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from rfsq_jax.backbones.protocol import Depth
from rfsq_jax.heads.config import CodeShape, TrunkConfig
from rfsq_jax.heads.trunk import Mlp, Trunk
from rfsq_jax.rfsq.layers import AnyArray


class MainHead(nnx.Module):
    """Predicts the coarse layers from the features alone, then the fine ones given the coarse."""

    def __init__(
        self, config: TrunkConfig, depth: Depth, codes: CodeShape, *, rngs: nnx.Rngs
    ) -> None:
        width, dtype = config.width, jnp.dtype(config.dtype)
        self.codes = codes
        self.trunk = Trunk(config, depth, codes.horizon, rngs=rngs)
        tokens = codes.dim * codes.coarse * codes.num_levels
        self.coarse_out = nnx.Linear(width, tokens, rngs=rngs)
        self.embedding = nnx.Linear(tokens, width, dtype=dtype, rngs=rngs)
        self.fine_norm = nnx.LayerNorm(width, rngs=rngs)
        self.fine_mlp = Mlp(width, 2 * config.mlp_ratio * width, width, dtype, rngs=rngs)
        self.fine_out_norm = nnx.LayerNorm(width, rngs=rngs)
        self.fine_out = nnx.Linear(width, codes.dim * codes.fine * codes.num_levels, rngs=rngs)

    def hidden(
        self, features: Float[AnyArray, "b s e"], state: Float[AnyArray, "b 8"]
    ) -> Float[Array, "b t h"]:
        """Features and normalised state -> what both stages read."""
        return self.trunk(features, state)

    def coarse(self, hidden: Float[Array, "b t h"]) -> Float[Array, "b t d p k"]:
        """Logits of L0 to L(P-1), which see no tokens."""
        return _logits(self.coarse_out(hidden), self.codes.coarse, self.codes)

    def fine(
        self, hidden: Float[Array, "b t h"], codes: Int[AnyArray, "b t d p"]
    ) -> Float[Array, "b t d f k"]:
        """Logits of the other layers given the coarse codes; every step on its own."""
        chosen = jax.nn.one_hot(codes, self.codes.num_levels, dtype=self.embedding.dtype)
        mixed = hidden + self.embedding(chosen.reshape(*hidden.shape[:2], -1))
        mixed = mixed + self.fine_mlp(self.fine_norm(mixed))
        return _logits(self.fine_out(self.fine_out_norm(mixed)), self.codes.fine, self.codes)


class DraftHead(nnx.Module):
    """Predicts the coarse layers from early features, at a fraction of the main head's cost."""

    def __init__(
        self, config: TrunkConfig, depth: Depth, codes: CodeShape, *, rngs: nnx.Rngs
    ) -> None:
        self.codes = codes
        self.trunk = Trunk(config, depth, codes.horizon, rngs=rngs)
        tokens = codes.dim * codes.coarse * codes.num_levels
        self.coarse_out = nnx.Linear(config.width, tokens, rngs=rngs)

    def __call__(
        self, features: Float[AnyArray, "b s e"], state: Float[AnyArray, "b 8"]
    ) -> Float[Array, "b t d p k"]:
        """Early features and normalised state -> logits of L0 to L(P-1)."""
        return _logits(self.coarse_out(self.trunk(features, state)), self.codes.coarse, self.codes)


def _logits(
    flat: Float[Array, "b t n"], layers: int, codes: CodeShape
) -> Float[Array, "b t d l k"]:
    shape = (*flat.shape[:2], codes.dim, layers, codes.num_levels)
    return flat.astype(jnp.float32).reshape(shape)


class ActionHead(nnx.Module):
    """What every action value is read off, all at once, to compare with.

    `outputs` is () for the normalised actions, trained on absolute error as OpenVLA-OFT is (arXiv
    2502.19645), or (K,) for logits of uniform bins (RT-2, OpenVLA).
    """

    def __init__(
        self,
        config: TrunkConfig,
        depth: Depth,
        horizon: int,
        action_dim: int,
        outputs: tuple[int, ...],
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.shape = (action_dim, *outputs)
        self.trunk = Trunk(config, depth, horizon, rngs=rngs)
        self.out = nnx.Linear(config.width, math.prod(self.shape), rngs=rngs)

    def __call__(
        self, features: Float[AnyArray, "b s e"], state: Float[AnyArray, "b 8"]
    ) -> Float[Array, "b t a *outputs"]:
        """Features and normalised state -> normalised actions, or logits of their bins."""
        flat = self.out(self.trunk(features, state)).astype(jnp.float32)
        return flat.reshape(*flat.shape[:2], *self.shape)
