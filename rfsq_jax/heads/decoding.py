"""From features to codes: greedily, or with a proposal for the coarse ones that is verified.

Axes: B batch · T steps of a chunk · D latent dims · L residual layers, of which P coarse ·
K levels · S feature tokens · E their width · H hidden.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rfsq_jax.heads.parallel import MainHead
from rfsq_jax.rfsq.layers import AnyArray


class Acceptance(NamedTuple):
    """How much of a batch's proposals the main head would have said itself.

    Attributes:
      tokens: int32 [P], tokens by coarse layer, of B * T * D.
      steps: int32 [T], samples whose whole step was right, of B.
      chunks: int32, samples whose whole chunk was right, of B.
    """

    tokens: Int[Array, " p"]
    steps: Int[Array, " t"]
    chunks: Int[Array, ""]


def greedy(
    main: MainHead, features: Float[AnyArray, "b s e"], state: Float[AnyArray, "b 8"]
) -> Int[Array, "b t d l"]:
    """The likeliest codes; the fine layers are conditioned on the main head's own coarse codes."""
    return jnp.argmax(greedy_logits(main, features, state), axis=-1)


def greedy_logits(
    main: MainHead, features: Float[AnyArray, "b s e"], state: Float[AnyArray, "b 8"]
) -> Float[Array, "b t d l k"]:
    """The logits of `greedy`."""
    hidden, coarse = _coarse(main, features, state)
    fine = main.fine(hidden, jnp.argmax(coarse, axis=-1))
    return jnp.concatenate([coarse, fine], axis=-2)


def speculate(
    main: MainHead,
    proposal: Int[AnyArray, "b t d p"],
    features: Float[AnyArray, "b s e"],
    state: Float[AnyArray, "b 8"],
) -> tuple[Int[Array, "b t d l"], Acceptance]:
    """The codes of `greedy`, whatever is proposed, and how much of the proposal was right."""
    logits, acceptance = speculate_logits(main, proposal, features, state)
    return jnp.argmax(logits, axis=-1), acceptance


def speculate_logits(
    main: MainHead,
    proposal: Int[AnyArray, "b t d p"],
    features: Float[AnyArray, "b s e"],
    state: Float[AnyArray, "b 8"],
) -> tuple[Float[Array, "b t d l k"], Acceptance]:
    """Verifies a proposal in one pass: coarse and fine logits do not wait for each other.

    If any step was proposed wrongly the fine layers run again, for the whole batch and with the
    main head's own codes. Steps do not see each other there, so right steps keep their logits.
    """
    proposal = jnp.asarray(proposal)
    hidden, coarse = _coarse(main, features, state)
    own = jnp.argmax(coarse, axis=-1)
    right = own == proposal
    first = main.fine(hidden, proposal)
    fine = jax.lax.cond(jnp.all(right), lambda: first, lambda: main.fine(hidden, own))
    return jnp.concatenate([coarse, fine], axis=-2), acceptance(right)


def acceptance(right: Bool[Array, "b t d p"]) -> Acceptance:
    """Counts a mask of tokens that were proposed rightly."""
    steps = right.all(axis=(2, 3))
    return Acceptance(
        tokens=right.sum(axis=(0, 1, 2), dtype=jnp.int32),
        steps=steps.sum(axis=0, dtype=jnp.int32),
        chunks=steps.all(axis=1).sum(dtype=jnp.int32),
    )


def _coarse(
    main: MainHead, features: Float[AnyArray, "b s e"], state: Float[AnyArray, "b 8"]
) -> tuple[Float[Array, "b t h"], Float[Array, "b t d p k"]]:
    # Without the barriers a compiler may round the same sums in another way in another program.
    hidden = jax.lax.optimization_barrier(main.hidden(features, state))
    return hidden, jax.lax.optimization_barrier(main.coarse(hidden))
