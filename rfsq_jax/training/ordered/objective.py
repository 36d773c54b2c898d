"""What ordered tokens are trained for: that every prefix decodes well, and what policies like.

    loss = mean over prefixes of log(mean squared error over the batch)
         + perturbation * the same where one token of each chunk is a near one
         + balance      * how far the levels' variance is from that of equally frequent ones
         + smoothness   * 1 - correlation of a chunk's codes with those of a chunk close to it

so that each layer takes the same share off what the ones before left over. Perturbation and balance
after ProAct, closeness after ActionPiece, drawn prefixes (nested dropout) after OAT; the mean over
all prefixes is the expectation of drawing one.

Axes: B chunks · D coefficients · C context · L layers · G codes of a layer.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rfsq_jax.rfsq import ConditionalState, RFSQConfig, scan
from rfsq_jax.runs.checks import require, require_choice
from rfsq_jax.runs.records import require_types
from rfsq_jax.training.loop import Metrics

SMALLEST_ERROR = 1e-9
"""Squared, so that the logarithm of a perfect prefix is finite."""
CLOSE = 0.1
"""Of the way to another chunk: how far from a chunk its codes are asked to be alike."""

PrefixChoice = Literal["all", "drawn", "whole"]


@dataclasses.dataclass(frozen=True)
class Objective:
    """The terms of the loss.

    Attributes:
      discount: see `rfsq.scan.prefixes`.
      prefixes: which prefixes count: "all"; of each chunk a "drawn" one; the "whole" sequence.
      perturbation: weight of decoding well although one token is a near one.
      balance: weight of using all levels alike.
      smoothness: weight of like codes for like chunks.
    """

    discount: float = 0.9
    prefixes: PrefixChoice = "all"
    perturbation: float = 0.0
    balance: float = 0.0
    smoothness: float = 0.0

    def __post_init__(self) -> None:
        require_choice(self.prefixes, PrefixChoice, "prefixes")
        require_types(self)
        require(0 <= self.discount <= 1, "discount", "in [0, 1]", self.discount)
        for name in ("perturbation", "balance", "smoothness"):
            weight = getattr(self, name)
            require(weight >= 0, name, "0 or more", weight)


def loss(
    objective: Objective,
    quantizer: RFSQConfig,
    state: ConditionalState,
    z: Float[Array, "b d"],
    context: Float[Array, "b c"],
    key: jax.Array,
) -> tuple[Float[Array, ""], Metrics]:
    """The weighted sum of the terms, and each term that has a weight."""
    told = context if quantizer.context_dim else None
    drawn, wrong = jax.random.split(key)
    found = scan.prefixes(quantizer, state, z, told, objective.discount)
    terms = {"prefixes": _of_prefixes(objective, found.errors, drawn)}
    if objective.perturbation:
        codes = one_level_off(quantizer, jax.lax.stop_gradient(found.offsets), wrong)
        decoded = scan.decode_prefixes(quantizer, state, codes, told, objective.discount)
        terms["perturbation"] = _of_prefixes(objective, z[None] - decoded, drawn)
    if objective.balance:
        terms["balance"] = imbalance(quantizer, found.offsets)
    if objective.smoothness:
        other = jnp.roll(z, 1, axis=0)
        nearby = scan.prefixes(quantizer, state, z + CLOSE * (other - z), told, objective.discount)
        terms["smoothness"] = roughness(found.offsets, nearby.offsets)
    weights = dataclasses.asdict(objective) | {"prefixes": 1.0}
    total = sum((weights[name] * term for name, term in terms.items()), jnp.zeros(()))
    return total, {"loss": total, **terms}


def _of_prefixes(
    objective: Objective, errors: Float[Array, "m b d"], key: jax.Array
) -> Float[Array, ""]:
    squared = jnp.mean(jnp.square(errors), axis=-1)
    if objective.prefixes == "whole":
        squared = squared[-1:]
    if objective.prefixes == "drawn":
        length = jax.random.randint(key, squared.shape[1:], 0, len(squared))
        is_drawn = jax.nn.one_hot(length, len(squared), axis=0) > 0
        count = jnp.maximum(jnp.sum(is_drawn, axis=-1), 1)
        mean = jnp.sum(jnp.where(is_drawn, squared, 0.0), axis=-1) / count
        # A length that nobody drew says nothing.
        return jnp.sum(jnp.where(is_drawn.any(axis=-1), _log(mean), 0.0)) / len(squared)
    return jnp.mean(_log(jnp.mean(squared, axis=-1)))


def _log(squared: Float[Array, " m"]) -> Float[Array, " m"]:
    return jnp.log(squared + SMALLEST_ERROR)


def one_level_off(
    quantizer: RFSQConfig, offsets: Float[Array, "l b g"], key: jax.Array
) -> Float[Array, "l b g"]:
    """The codes of these offsets, one of each chunk's a level up or down."""
    num_layers, batch, num_codes = offsets.shape
    place, sign = jax.random.split(key)
    index = jax.random.randint(place, (batch,), 0, num_layers * num_codes)
    step = jax.random.rademacher(sign, (batch,), jnp.float32)
    here = jax.nn.one_hot(index, num_layers * num_codes).reshape(batch, num_layers, num_codes)
    change = jnp.moveaxis(here * step[:, None, None], 1, 0)
    half = (quantizer.num_levels - 1) / 2
    is_out = jnp.abs(offsets + change) > half
    return offsets + jnp.where(is_out, -change, change) + half


def imbalance(quantizer: RFSQConfig, offsets: Float[Array, "l b g"]) -> Float[Array, ""]:
    """How far each code's variance over the batch is from that of equally frequent levels."""
    equal = (quantizer.num_levels**2 - 1) / 12
    return jnp.mean(jnp.square(jnp.var(offsets, axis=1) / equal - 1.0))


def roughness(offsets: Float[Array, "l b g"], nearby: Float[Array, "l b g"]) -> Float[Array, ""]:
    """1 - correlation of two chunks' codes, over the batch; the mean over all codes."""
    apart = jnp.mean(jnp.square(offsets - nearby), axis=1)
    spread = jnp.var(offsets, axis=1) + jnp.var(nearby, axis=1)
    return jnp.mean(apart / jnp.maximum(spread, SMALLEST_ERROR))
