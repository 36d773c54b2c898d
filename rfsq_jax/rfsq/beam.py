"""Encoding by search: several sequences of codes are kept layer by layer, the best one is returned.

A layer's nearest levels are not always the start of the best sequence: what later layers can still
express depends on them. Each kept sequence is continued by its nearest levels and by those one
level off in one direction; those that leave the least over are kept.

Axes: B vectors · W kept sequences · V continuations · D dims · G directions · L layers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rfsq_jax.rfsq import conditional, exact, scan
from rfsq_jax.rfsq.conditional import ConditionalState, Seen, Statistics
from rfsq_jax.rfsq.config import RFSQConfig


class Kept(NamedTuple):
    """Sequences so far: what they leave over, what they say; those not alive are copies."""

    residual: Float[Array, "b w d"]
    seen: Seen
    codes: Int[Array, "b w l g"]
    alive: Bool[Array, "b w"]


def encode(
    config: RFSQConfig,
    state: ConditionalState,
    z: Float[Array, "b d"],
    context: Float[Array, "b c"] | None,
    beam: int,
) -> tuple[Int[Array, "l b g"], Float[Array, "b d"]]:
    """Returns the codes of the best sequence, the layer axis first, and what they decode to."""
    told = None if context is None else jnp.repeat(context[:, None], beam, axis=1)
    shape = (len(z), beam)
    kept = Kept(
        residual=jnp.repeat(conditional.prepared(z)[:, None], beam, axis=1),
        seen=conditional.nothing_seen(config, shape),
        codes=jnp.zeros((*shape, config.num_layers, config.num_directions), jnp.int32),
        alive=jnp.zeros(shape, bool).at[:, 0].set(True),
    )

    def layer(kept: Kept, inputs: tuple[Array, ConditionalState]) -> tuple[Kept, None]:
        index, given = inputs
        return _continued(config, kept, given, told, index), None

    first, last = scan.split_layers(config, state, z.ndim, config.num_layers)
    kept = jax.lax.scan(layer, kept, (jnp.arange(config.num_layers), first))[0]
    constants, seen = conditional.condition(config, last, told, None, kept.seen)
    error = _squared(config, constants, kept.residual - constants.mean)
    best = jnp.argmin(jnp.where(kept.alive, error, jnp.inf), axis=1)[:, None]
    codes, z_hat = pick_rows((kept.codes, conditional.expected(constants, seen)), best)
    return jnp.moveaxis(codes[:, 0], 1, 0), z_hat[:, 0]


def _continued(
    config: RFSQConfig,
    kept: Kept,
    given: ConditionalState,
    context: Float[Array, "b w c"] | None,
    index: Int[Array, ""],
) -> Kept:
    """The best continuations by one layer, as many as are kept."""
    beam, half = kept.alive.shape[1], (config.num_levels - 1) / 2
    constants, seen = conditional.condition(config, given, context, kept.residual, kept.seen)
    nearest = conditional.nearest_offset(config, constants, kept.residual)
    moves = jnp.asarray(_moves(config))
    offsets = nearest[:, :, None] + moves[None, None]
    legal = (jnp.abs(offsets) <= half).all(axis=-1)
    mean, directions, step = (leaf[:, :, None] for leaf in constants[:3])
    wide = Statistics(mean, directions, step, constants.unit)
    values = conditional.value_of(config, wide, jnp.clip(offsets, -half, half))
    residual = kept.residual[:, :, None] - values
    error = _squared(config, constants, residual)
    error = jnp.where(legal & kept.alive[..., None], error, jnp.inf)
    score, place = jax.lax.top_k(-error.reshape(len(error), -1), beam)
    parent, move = place // len(moves), place % len(moves)
    seen, codes, nearest = pick_rows((seen, kept.codes, nearest), parent)
    offset = jnp.clip(nearest + moves[move], -half, half)
    value, left = (
        pick_rows(leaf.reshape(len(leaf), -1, leaf.shape[-1]), place) for leaf in (values, residual)
    )
    code = (offset + half).astype(jnp.int32)
    return Kept(
        residual=left,
        seen=conditional.see(seen, value, offset),
        codes=codes.at[:, :, index].set(code),
        alive=jnp.isfinite(score),
    )


def _moves(config: RFSQConfig) -> Float[np.ndarray, "v g"]:
    """Nothing, and one level up or down in one direction."""
    steps = np.eye(config.num_directions, dtype=np.float32)
    return np.concatenate([np.zeros_like(steps[:1]), steps, -steps])


def _squared(
    config: RFSQConfig, constants: Statistics, residual: Float[Array, "*n d"]
) -> Float[Array, "*n"]:
    """The squared length of a residual, coarse enough that the sum is exact."""
    bits = ((exact.LARGEST_SUM // config.dim).bit_length() - 1) // 2
    coarse, _ = conditional.coarsened(constants, residual, bits)
    return jnp.sum(coarse * coarse, axis=-1)


def pick_rows(tree: Any, index: Int[Array, "b v"]) -> Any:
    """Takes rows along the second axis of every leaf."""
    return jax.tree.map(lambda leaf: jax.vmap(lambda rows, i: rows[i])(leaf, index), tree)
