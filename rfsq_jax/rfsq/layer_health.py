"""What each layer carries, and how evenly its levels are used.

Axes: ... any leading axes · D latent dims · L residual layers · K levels.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from rfsq_jax.rfsq.config import RFSQConfig, require_vectors
from rfsq_jax.rfsq.layers import AnyArray, RFSQState, broadcastable, step_size
from rfsq_jax.rfsq.scan import forward


class Health(NamedTuple):
    """What each layer carries, pooled over tokens and dims.

    Attributes:
      residual_std: float32 [L], before normalisation.
      normalized_std: float32 [L], after it: 1 / spread where the layer is calibrated.
      histogram: float32 [L, K], share of each level.
      perplexity: float32 [L], 2 ** entropy of that share: 1 is dead, K is uniform.
    """

    residual_std: Float[Array, " l"]
    normalized_std: Float[Array, " l"]
    histogram: Float[Array, "l k"]
    perplexity: Float[Array, " l"]


@partial(jax.jit, static_argnums=0)
def health(config: RFSQConfig, state: RFSQState, z: Shaped[AnyArray, "*n d"]) -> Health:
    """Measures what each layer carries on the latents z [..., D].

    Raises:
      ValueError: if there are none.
    """
    require_vectors(jnp.asarray(z))
    layers = forward(config, state, jnp.asarray(z, jnp.float32))
    normalized = (layers.residuals - layers.constants.mean) / layers.constants.scale
    pooled = tuple(range(1, layers.residuals.ndim))
    histogram = jax.nn.one_hot(layers.codes, config.num_levels).mean(axis=pooled)
    logs = jnp.log2(jnp.maximum(histogram, jnp.finfo(jnp.float32).tiny))
    return Health(
        residual_std=jnp.std(layers.residuals, axis=pooled),
        normalized_std=jnp.std(normalized, axis=pooled),
        histogram=histogram,
        perplexity=2.0 ** -jnp.sum(histogram * logs, axis=-1),
    )


def balance(config: RFSQConfig, state: RFSQState, z: Shaped[AnyArray, "*n d"]) -> Float[Array, ""]:
    """How far the first layer's levels are from equal use, in [0, 1]; differentiable in z.

    Each normalised latent is spread over neighbouring levels (a softmax of squared distances, one
    step wide), which gives the histogram a gradient that hard assignments do not have.
    """
    first = jax.tree.map(lambda c: c[0], broadcastable(state, z.ndim))
    position = (z - first.mean) / step_size(config, first.scale) + (config.num_levels - 1) / 2
    distance = jax.vmap(lambda level: position - level, out_axes=-1)(
        jnp.arange(config.num_levels, dtype=jnp.float32)
    )
    weights = jax.nn.softmax(-(distance**2), axis=-1)
    share = jnp.mean(weights, axis=tuple(range(z.ndim - 1)))
    entropy = -jnp.sum(share * jnp.log(share + 1e-9), axis=-1)
    return 1.0 - jnp.mean(entropy) / math.log(config.num_levels)
