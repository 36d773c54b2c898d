"""The dense path: conditional RFSQ of all coefficients at once, trained on one robot's data.

Every layer is one token: its G codes of K levels as the digits of a number.

Axes: B chunks · D coefficients · G codes of a layer · L layers = tokens · C context.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rfsq_jax.rfsq import ConditionalState, RFSQConfig, scan
from rfsq_jax.rfsq import beam as search


def num_values(config: RFSQConfig) -> int:
    """How many values a token has."""
    return config.num_levels**config.codes_per_layer


def to_ids(config: RFSQConfig, codes: Int[Array, "l b g"]) -> Int[Array, "b l"]:
    """Digits -> numbers, the first digit counting most."""
    return jnp.einsum("lbg,g->bl", codes, _places(config))


def to_codes(config: RFSQConfig, ids: Int[Array, "b l"]) -> Int[Array, "l b g"]:
    """The inverse; numbers beyond the values of a token start again from 0."""
    return ids.T[..., None] // _places(config) % config.num_levels


@functools.partial(jax.jit, static_argnums=(0, 4))
def encode(
    config: RFSQConfig,
    state: ConditionalState,
    z: Float[Array, "b d"],
    context: Float[Array, "b c"] | None,
    beam: int = 1,
) -> tuple[Int[Array, "b l"], Float[Array, "b d"]]:
    """Coefficients -> tokens, and what they decode to; `beam` sequences are kept in the search."""
    if beam > 1:
        codes, z_hat = search.encode(config, state, z, context, beam)
        return to_ids(config, codes), z_hat
    found = scan.forward(config, state, z, context=context)
    return to_ids(config, found.codes), found.z_hat


@functools.partial(jax.jit, static_argnums=0)
def decode(
    config: RFSQConfig,
    state: ConditionalState,
    ids: Int[Array, "b l"],
    context: Float[Array, "b c"] | None,
) -> Float[Array, "b d"]:
    """Tokens of the first layers, none too -> coefficients."""
    return scan.decode(config, state, to_codes(config, ids), context)


@functools.partial(jax.jit, static_argnums=0)
def decode_prefixes(
    config: RFSQConfig,
    state: ConditionalState,
    ids: Int[Array, "b l"],
    context: Float[Array, "b c"] | None,
) -> Float[Array, "m b d"]:
    """The coefficients of every prefix of the tokens, from none of them on."""
    return scan.decode_prefixes(config, state, to_codes(config, ids), context)


def _places(config: RFSQConfig) -> Int[np.ndarray, " g"]:
    return config.num_levels ** np.arange(config.codes_per_layer, dtype=np.int32)[::-1]
