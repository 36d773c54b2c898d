"""A path turns the coefficients of a chunk into tokens and back; a tokenizer has one or two.

Axes: B chunks · T frequencies · M dims that move · P grippers · N tokens · n of them.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rfsq_jax.parallel.batching import in_blocks
from rfsq_jax.rfsq import ConditionalState, RFSQConfig
from rfsq_jax.tokenizers.ordered import dense, shared
from rfsq_jax.tokenizers.ordered import grippers as words
from rfsq_jax.tokenizers.ordered.coefficients import Parts
from rfsq_jax.tokenizers.ordered.shared import Prior
from rfsq_jax.tokenizers.ordered.shared_config import NUM_IDS, SharedConfig
from rfsq_jax.tokenizers.ordered.shared_network import SharedParams


class Encoded(NamedTuple):
    """Tokens, and what they decode to."""

    ids: Int[np.ndarray, "b n"]
    coefficients: Float[np.ndarray, "b t m"]


@runtime_checkable
class Path(Protocol):
    """What every path offers."""

    @property
    def num_values(self) -> int:
        """How many values a token has."""
        ...

    def encode(self, parts: Parts, beam: int = 1) -> Encoded:
        """Tokens of chunks; `beam` sequences are kept in the search."""
        ...

    def decode(
        self, ids: Int[np.ndarray, "b n"], grippers: Bool[np.ndarray, "b t p"]
    ) -> Float[np.ndarray, "b t m"]:
        """The coefficients of the first tokens, any number of them."""
        ...

    def decode_prefixes(
        self, ids: Int[np.ndarray, "b n"], grippers: Bool[np.ndarray, "b t p"]
    ) -> Float[np.ndarray, "b m t d"]:
        """The coefficients of every prefix, from none of the tokens on."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class DensePath:
    """Conditional RFSQ of all coefficients; its networks are told what the grippers do.

    Attributes:
      config: the quantiser; D is T * M, the context T * P.
      state: its networks, frozen or not.
      frequencies: T.
    """

    config: RFSQConfig
    state: ConditionalState
    frequencies: int

    @property
    def num_values(self) -> int:
        """All combinations of a layer's codes."""
        return dense.num_values(self.config)

    def encode(self, parts: Parts, beam: int = 1) -> Encoded:
        """One layer, one token."""

        def run(rows: tuple[np.ndarray, np.ndarray]) -> tuple[Array, Array]:
            z, grippers = rows
            return dense.encode(self.config, self.state, z, self._context(grippers), beam)

        z = parts.coefficients.reshape(len(parts.coefficients), -1)
        ids, z_hat = in_blocks(run, (z, parts.grippers))
        return Encoded(ids, z_hat.reshape(parts.coefficients.shape))

    def decode(
        self, ids: Int[np.ndarray, "b n"], grippers: Bool[np.ndarray, "b t p"]
    ) -> Float[np.ndarray, "b t m"]:
        """The first layers add up."""

        def run(rows: tuple[np.ndarray, np.ndarray]) -> Array:
            return dense.decode(self.config, self.state, rows[0], self._context(rows[1]))

        z_hat = in_blocks(run, (ids, grippers))
        return z_hat.reshape(len(ids), self.frequencies, -1)

    def decode_prefixes(
        self, ids: Int[np.ndarray, "b n"], grippers: Bool[np.ndarray, "b t p"]
    ) -> Float[np.ndarray, "b m t d"]:
        """All in one pass over the layers."""

        def run(rows: tuple[np.ndarray, np.ndarray]) -> Array:
            context = self._context(rows[1])
            found = dense.decode_prefixes(self.config, self.state, rows[0], context)
            return jnp.moveaxis(found, 0, 1)

        z_hat = in_blocks(run, (ids, grippers))
        return z_hat.reshape(*z_hat.shape[:2], self.frequencies, -1)

    def _context(self, grippers: Bool[np.ndarray, "b t p"]) -> Float[np.ndarray, "b c"] | None:
        return words.context(grippers) if self.config.context_dim else None


@dataclasses.dataclass(frozen=True, eq=False)
class SharedPath:
    """One small network for all robots, which knows a data set by its prior; grippers stay out.

    Attributes:
      config: the quantiser.
      params: its network.
      prior: of the data set's coefficients.
      num_tokens: N.
    """

    config: SharedConfig
    params: SharedParams
    prior: Prior
    num_tokens: int

    @property
    def num_values(self) -> int:
        """Levels and escapes."""
        return NUM_IDS

    def encode(self, parts: Parts, beam: int = 1) -> Encoded:
        """Levels or an escape, whichever gains more."""

        def run(z: np.ndarray) -> tuple[Array, Array]:
            return _encode_shared(self.config, self.params, self.prior, z, self.num_tokens, beam)

        return Encoded(*in_blocks(run, parts.coefficients))

    def decode(
        self, ids: Int[np.ndarray, "b n"], grippers: Bool[np.ndarray, "b t p"]
    ) -> Float[np.ndarray, "b t m"]:
        """Token by token."""
        run = functools.partial(_decode_shared, self.config, self.params, self.prior)
        return in_blocks(run, ids)

    def decode_prefixes(
        self, ids: Int[np.ndarray, "b n"], grippers: Bool[np.ndarray, "b t p"]
    ) -> Float[np.ndarray, "b m t d"]:
        """All in one pass."""
        run = functools.partial(_decode_shared_prefixes, self.config, self.params, self.prior)
        return in_blocks(run, ids)


_encode_shared = jax.jit(shared.encode_decoded, static_argnums=(0, 4, 5))
_decode_shared = jax.jit(shared.decode, static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def _decode_shared_prefixes(
    config: SharedConfig, params: SharedParams, prior: Prior, ids: Int[Array, "b n"]
) -> Float[Array, "b m t d"]:
    return jnp.moveaxis(shared.decode_prefixes(config, params, prior, ids), 0, 1)
