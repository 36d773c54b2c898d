"""Encoding along the shared path by search: several sequences are kept, the best one is returned.

Each kept sequence is continued by its nearest levels, by those one level off in one place, and by
its best escape; those that leave least over are kept. All scores are integers.

Axes: B chunks · W kept sequences · V continuations · G places of a grid · A action dims ·
T frequencies · N tokens.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rfsq_jax.rfsq.beam import pick_rows
from rfsq_jax.tokenizers.ordered import shared_moves as moves
from rfsq_jax.tokenizers.ordered import shared_network as network
from rfsq_jax.tokenizers.ordered import shared_search as search
from rfsq_jax.tokenizers.ordered.shared_config import SharedConfig
from rfsq_jax.tokenizers.ordered.shared_network import Belief, SharedParams, Start

WORST = jnp.iinfo(jnp.int32).max


class Kept(NamedTuple):
    """Sequences so far: what they make one believe, and what they are; copies are not alive."""

    belief: Belief
    ids: Int[Array, "b w n"]
    alive: Bool[Array, "b w"]


def encode(
    config: SharedConfig,
    params: SharedParams,
    start: Start,
    layout: moves.Layout,
    target: Float[Array, "b a t"],
    num_tokens: int,
    beam: int,
) -> tuple[Int[Array, "b n"], Float[Array, "b a t"]]:
    """Returns the ids of the best sequence, and the mean that it leads to."""
    start, wanted = _repeated((start, target), beam)
    shape = wanted.shape[:2]
    kept = Kept(
        start.belief,
        jnp.zeros((*shape, num_tokens), jnp.int32),
        jnp.zeros(shape, bool).at[:, 0].set(True),
    )

    def one(kept: Kept, index: Array) -> tuple[Kept, None]:
        belief = network.refine(config, params, start, kept.belief, index)
        choice = moves.choose(config, layout, belief, start.present)
        residual = wanted - belief.mean
        unit = _unit(residual, kept.alive)
        tokens, gains = search.continuations(config, params, layout, belief, choice, residual, unit)
        score = _squared(residual, unit)[..., None] - gains
        score = jnp.where(kept.alive[..., None] & (gains > search.NO_GAIN), score, WORST)
        score = score.reshape(len(score), -1)
        best, place = jax.lax.top_k(-score, beam)
        parent = place // tokens.shape[-1]
        token = jnp.take_along_axis(tokens.reshape(score.shape), place, axis=1)
        belief, ids, chosen = pick_rows((belief, kept.ids, _places_last(choice)), parent)
        after = moves.moved(config, params, layout, belief, _places_first(chosen), token)
        return Kept(after, ids.at[:, :, index].set(token), best > -WORST), None

    kept = jax.lax.scan(one, kept, jnp.arange(num_tokens))[0]
    last = network.refine(config, params, start, kept.belief, jnp.asarray(num_tokens))
    residual = wanted - last.mean
    error = _squared(residual, _unit(residual, kept.alive))
    best = jnp.argmin(jnp.where(kept.alive, error, WORST), axis=1)[:, None]
    ids, mean = pick_rows((kept.ids, last.mean), best)
    return ids[:, 0], mean[:, 0]


def _unit(residual: Float[Array, "b w a t"], alive: Bool[Array, "b w"]) -> Float[Array, "b w"]:
    """One for all sequences of a chunk, by which the sum of squares stays below 2**30."""
    largest = jnp.max(jnp.where(alive[..., None, None], jnp.abs(residual), 0.0), axis=1)
    count = residual.shape[-2] * residual.shape[-1]
    spare = max(0, search.GAIN_BITS - (30 - (count - 1).bit_length()) // 2)
    unit = search.gain_unit(largest) * 2.0**-spare
    return jnp.broadcast_to(unit[:, None], alive.shape)


def _squared(residual: Float[Array, "b w a t"], unit: Float[Array, "b w"]) -> Int[Array, "b w"]:
    error = jnp.round(residual * unit[..., None, None]).astype(jnp.int32)
    # Sequences that are not alive may leave more over than the unit was made for.
    error = jnp.clip(error, -(2**search.GAIN_BITS), 2**search.GAIN_BITS)
    return jnp.sum(error * error, axis=(-2, -1))


def _repeated(tree: Any, beam: int) -> Any:
    return jax.tree.map(lambda leaf: jnp.repeat(leaf[:, None], beam, axis=1), tree)


def _places_last(choice: moves.Choice) -> moves.Choice:
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 2), choice)


def _places_first(choice: moves.Choice) -> moves.Choice:
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 2, 0), choice)
