"""A path turns the coefficients of a chunk into tokens and back; a tokenizer has one or two.

Axes: B chunks · T frequencies · M dims that move · P grippers · N tokens · n of them.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Protocol

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rfsq_jax.parallel.batching import in_blocks
from rfsq_jax.rfsq import ConditionalState, RFSQConfig
from rfsq_jax.tokenizers.ordered import dense
from rfsq_jax.tokenizers.ordered.coefficients import Parts


class Encoded(NamedTuple):
    """Tokens, and what they decode to."""

    ids: Int[np.ndarray, "b n"]
    coefficients: Float[np.ndarray, "b t m"]


class Path(Protocol):
    """What every path offers."""

    @property
    def num_values(self) -> int:
        """How many values a token has."""
        ...

    def encode(self, parts: Parts) -> Encoded:
        """Tokens of chunks."""
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

    def encode(self, parts: Parts) -> Encoded:
        """One layer, one token."""

        def run(rows: tuple[np.ndarray, np.ndarray]) -> tuple[Array, Array]:
            z, grippers = rows
            return dense.encode(self.config, self.state, z, self._context(grippers))

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
        if not self.config.context_dim:
            return None
        signs = np.where(grippers, np.float32(1), np.float32(-1))
        return signs.reshape(len(grippers), -1)
