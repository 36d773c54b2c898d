"""The shared path: any robot's chunk as a sequence of 12-bit tokens, with one small network.

    belief_0 = prior of the data set
    belief_i <- network(belief_i)            z_hat of the first i tokens is its mean
    token_i  -> belief_{i+1}                 levels of the widest coefficients, or an escape

The decoder needs the prior (mean and deviation of each coefficient over the fitted chunks) and the
tokens. Every sequence of ids decodes, and every prefix; encoder, decoder and all programs agree to
the bit (`rfsq.exact`).

Axes: B chunks · T coefficients over time, lowest first · A action dims · N tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rfsq_jax.rfsq import exact
from rfsq_jax.rfsq.layers import AnyArray
from rfsq_jax.runs.checks import require
from rfsq_jax.tokenizers.ordered import shared_beam
from rfsq_jax.tokenizers.ordered import shared_moves as moves
from rfsq_jax.tokenizers.ordered import shared_network as network
from rfsq_jax.tokenizers.ordered import shared_search as search
from rfsq_jax.tokenizers.ordered.shared_config import SharedConfig
from rfsq_jax.tokenizers.ordered.shared_network import SharedParams

SMALLEST_DEVIATION = 2.0**-10
"""Of a prior: what a coefficient that never changed gets."""
USUAL_WEIGHT = 2.0
"""So many chunks that share no step count as much as what is usual of motion."""


class Prior(NamedTuple):
    """Mean and standard deviation of each coefficient over a data set's chunks."""

    mean: Float[AnyArray, "t a"]
    deviation: Float[AnyArray, "t a"]

    @classmethod
    def fit(cls, z: Float[np.ndarray, "n t a"]) -> Prior:
        """Measures float32 [T, A] on coefficients [N, T, A] of every window of episodes, N > 0."""
        require(len(z) > 0, "z", "at least one chunk", z.shape)
        values = np.asarray(z, np.float64)
        count = len(values) / values.shape[1]
        usual = usual_deviation(values.shape[1])[:, None]
        variance = count * values.var(axis=0) + USUAL_WEIGHT * np.square(usual)
        variance = variance / (count + USUAL_WEIGHT) + SMALLEST_DEVIATION**2
        mean, deviation = values.mean(axis=0), np.sqrt(variance)
        return cls(mean.astype(np.float32), deviation.astype(np.float32))


def usual_deviation(horizon: int) -> Float[np.ndarray, " t"]:
    """Of coefficients of normalised motion, closely: it falls with the frequency."""
    return 0.42 * np.sqrt(horizon) * np.arange(1, horizon + 1) ** -1.65


def encode(
    config: SharedConfig,
    params: SharedParams,
    prior: Prior,
    z: Float[AnyArray, "b t a"],
    num_tokens: int,
) -> Int[Array, "b n"]:
    """Returns ids int32 [B, N] in [0, 4096) of coefficients z [B, T, A], T <= config.horizon.

    Raises:
      ValueError: if T is beyond the network's horizon, or z and prior have different shapes.
    """
    return encode_decoded(config, params, prior, z, num_tokens)[0]


def encode_decoded(
    config: SharedConfig,
    params: SharedParams,
    prior: Prior,
    z: Float[AnyArray, "b t a"],
    num_tokens: int,
    beam: int = 1,
) -> tuple[Int[Array, "b n"], Float[Array, "b t a"]]:
    """As `encode`; also returns what `decode` makes of the ids, which the encoder knows anyway.

    With a `beam` above 1, so many sequences are kept in a search (`shared_beam`).
    """
    start, ids = _start(config, prior, z.shape)
    target = _padded(config, exact.limited(jnp.asarray(z), network.LARGEST))
    target = network.as_values(target)
    if beam > 1:
        found, mean = shared_beam.encode(config, params, start, ids, target, num_tokens, beam)
        return found, jnp.moveaxis(mean, -1, -2)[:, : z.shape[1]]

    def one(carry: tuple[network.Belief, Array], index: Array) -> tuple:
        belief = network.refine(config, params, start, carry[0], index)
        choice = moves.choose(config, ids, belief, start.present)
        residual = target - belief.mean
        token = search.best_token(config, params, ids, belief, choice, residual)
        return (moves.moved(config, params, ids, belief, choice, token), belief.mean), token

    nothing = (start.belief, start.belief.mean)
    # One more, see `_scan_ids`.
    (_, mean), tokens = jax.lax.scan(one, nothing, jnp.arange(num_tokens + 1))
    return jnp.moveaxis(tokens[:-1], 0, -1), jnp.moveaxis(mean, -1, -2)[:, : z.shape[1]]


def decode_prefixes(
    config: SharedConfig, params: SharedParams, prior: Prior, ids: Int[AnyArray, "b n"]
) -> Float[Array, "m b t a"]:
    """Returns z_hat float32 [N + 1, B, T, A] of every prefix, of no ids first.

    Args:
      config: the quantiser.
      params: its network.
      prior: of the data set.
      ids: any of [0, 4096).

    Raises:
      ValueError: if the prior's T is beyond the network's horizon.
    """
    shape = (len(ids), *prior.mean.shape)
    means = _scan_ids(config, params, prior, ids, shape)[1]
    return jnp.moveaxis(means, -1, -2)[:, :, : shape[1]]


def decode(
    config: SharedConfig, params: SharedParams, prior: Prior, ids: Int[AnyArray, "b n"]
) -> Float[Array, "b t a"]:
    """Returns z_hat float32 [B, T, A] of all ids; raises as `decode_prefixes`."""
    shape = (len(ids), *prior.mean.shape)
    mean = _scan_ids(config, params, prior, ids, shape)[0]
    return jnp.moveaxis(mean, -1, -2)[:, : shape[1]]


def _scan_ids(
    config: SharedConfig,
    params: SharedParams,
    prior: Prior,
    ids: Int[AnyArray, "b n"],
    shape: tuple[int, ...],
) -> tuple[Array, Array]:
    """The last mean [B, A, T], and those of all prefixes."""
    start, places = _start(config, prior, shape)
    # One more, so that the program holds the network once; nothing looks at where it leads.
    tokens = jnp.moveaxis(jnp.pad(jnp.asarray(ids), ((0, 0), (0, 1))), -1, 0)

    def one(carry: tuple[network.Belief, Array], inputs: tuple[Array, Array]) -> tuple:
        index, token = inputs
        belief = network.refine(config, params, start, carry[0], index)
        choice = moves.choose(config, places, belief, start.present)
        after = moves.moved(config, params, places, belief, choice, token)
        return (after, belief.mean), belief.mean

    nothing = (start.belief, start.belief.mean)
    (_, mean), means = jax.lax.scan(one, nothing, (jnp.arange(len(tokens)), tokens))
    return mean, means


def _start(
    config: SharedConfig, prior: Prior, shape: tuple[int, ...]
) -> tuple[network.Start, moves.Layout]:
    """The belief before any token, for chunks [B, T, A], and what their ids mean."""
    batch, horizon, action_dim = shape
    require(horizon <= config.horizon, "T", f"at most {config.horizon}", horizon)
    require(prior.mean.shape == shape[1:], "prior", f"of shape {shape[1:]}", prior.mean.shape)
    present = jnp.arange(config.horizon) < horizon
    whole = (batch, action_dim, config.horizon)
    mean, deviation = (
        jnp.broadcast_to(_padded(config, jnp.asarray(each))[None], whole) for each in prior
    )
    present = jnp.broadcast_to(present[None, None], whole)
    return network.started(mean, deviation, present), moves.layout(config, horizon, action_dim)


def _padded(config: SharedConfig, z: Float[AnyArray, "*n t a"]) -> Float[Array, "*n a u"]:
    """Dims first, and zeros for the frequencies that a shorter chunk lacks."""
    lacking = config.horizon - z.shape[-2]
    widths = [(0, 0)] * (z.ndim - 1) + [(0, lacking)]
    return jnp.pad(jnp.swapaxes(z, -1, -2), widths)
