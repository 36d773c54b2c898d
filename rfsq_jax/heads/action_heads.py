"""The heads to be beaten, on the same trunk: 256 bins per value, and continuous L1 regression.

Axes: B batch · T steps of a chunk · A action dims · K bins · S feature tokens · E their width.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rfsq_jax.backbones.protocol import Depth
from rfsq_jax.heads.config import TrunkConfig
from rfsq_jax.heads.trunk import Trunk
from rfsq_jax.rfsq.layers import AnyArray


class BinHead(nnx.Module):
    """Logits of uniform bins for every action value, all at once (RT-2, OpenVLA)."""

    def __init__(
        self,
        config: TrunkConfig,
        depth: Depth,
        horizon: int,
        action_dim: int,
        num_bins: int,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.shape = (action_dim, num_bins)
        self.trunk = Trunk(config, depth, horizon, rngs=rngs)
        self.out = nnx.Linear(config.width, action_dim * num_bins, rngs=rngs)

    def __call__(
        self, features: Float[AnyArray, "b s e"], state: Float[AnyArray, "b 8"]
    ) -> Float[Array, "b t a k"]:
        """Features and normalised state -> logits."""
        flat = self.out(self.trunk(features, state)).astype(jnp.float32)
        return flat.reshape(*flat.shape[:2], *self.shape)


class RegressionHead(nnx.Module):
    """Normalised actions, trained on absolute error as OpenVLA-OFT is (arXiv 2502.19645)."""

    def __init__(
        self, config: TrunkConfig, depth: Depth, horizon: int, action_dim: int, *, rngs: nnx.Rngs
    ) -> None:
        self.trunk = Trunk(config, depth, horizon, rngs=rngs)
        self.out = nnx.Linear(config.width, action_dim, rngs=rngs)

    def __call__(
        self, features: Float[AnyArray, "b s e"], state: Float[AnyArray, "b 8"]
    ) -> Float[Array, "b t a"]:
        """Features and normalised state -> normalised actions."""
        return self.out(self.trunk(features, state)).astype(jnp.float32)
