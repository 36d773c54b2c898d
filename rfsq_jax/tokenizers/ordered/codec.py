"""Chunks <-> ids: headers, then the tokens of the path that they name.

Axes: B chunks · T steps of a chunk · A action dims · H headers · N tokens without headers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from rfsq_jax.tokenizers.ordered.coefficients import Coefficients, Parts
from rfsq_jax.tokenizers.ordered.headers import Headers
from rfsq_jax.tokenizers.ordered.paths import Path
from rfsq_jax.tokenizers.ordered.round_trip import largest_error


@dataclasses.dataclass(frozen=True, eq=False)
class Codec:
    """What encodes and decodes.

    Attributes:
      coefficients: actions <-> what the paths take.
      headers: gripper words, and which path.
      paths: one, or the usual one and another for chunks that it misses.
      largest_error: in normalised units, from which on a chunk is missed.
    """

    coefficients: Coefficients
    headers: Headers
    paths: tuple[Path, ...]
    largest_error: float

    def encode(
        self, chunks: Float[np.ndarray, "b t a"], beam: int = 1
    ) -> tuple[Int[np.ndarray, "b n"], Float[np.ndarray, " b"]]:
        """Chunks in robot units -> ids, and the largest normalised error that each leaves."""
        parts = self.coefficients.split(chunks)
        found = self.paths[0].encode(parts, beam)
        ids, error = found.ids, largest_error(parts, found)
        path = np.zeros(len(ids), np.int32)
        missed = np.flatnonzero(error > self.largest_error)
        if len(self.paths) > 1 and len(missed):
            part = Parts(parts.coefficients[missed], parts.grippers[missed])
            other = self.paths[1].encode(part, beam)
            left = largest_error(part, other)
            better = left < error[missed]
            rows = missed[better]
            ids[rows], path[rows], error[rows] = other.ids[better], 1, left[better]
        return np.concatenate([self.headers.encode(parts.grippers, path), ids], axis=1), error

    def decode(self, ids: Int[np.ndarray, "b n"]) -> Float[np.ndarray, "b t a"]:
        """Ids of a chunk, or its first ones -> actions in robot units."""
        patterns, path = self.headers.decode(ids)
        space = self.coefficients.space
        shape = (len(ids), space.horizon, len(self.coefficients.moving_dims))
        found = np.zeros(shape, np.float32)
        for each, rows, tokens in self._by_path(ids, path):
            found[rows] = each.decode(tokens, patterns[rows])
        return self.coefficients.join(Parts(found, patterns))

    def decode_prefixes(self, ids: Int[np.ndarray, "b n"]) -> Float[np.ndarray, "b m t a"]:
        """The actions of every prefix from the headers alone on."""
        patterns, path = self.headers.decode(ids)
        count = ids.shape[1] - len(self.headers.sizes) + 1
        space = self.coefficients.space
        actions = np.empty((len(ids), count, space.horizon, space.action_dim), np.float32)
        for each, rows, tokens in self._by_path(ids, path):
            found = each.decode_prefixes(tokens, patterns[rows])
            flat = found.reshape(-1, *found.shape[2:])
            joined = self.coefficients.join(Parts(flat, np.repeat(patterns[rows], count, axis=0)))
            actions[rows] = joined.reshape(-1, *actions.shape[1:])
        return actions

    def _by_path(
        self, ids: Int[np.ndarray, "b n"], path: Int[np.ndarray, " b"]
    ) -> Iterator[tuple[Path, Bool[np.ndarray, " b"], Int[np.ndarray, "k n"]]]:
        """Each path that occurs, its rows, and their tokens."""
        tokens = ids[:, len(self.headers.sizes) :].astype(np.int32)
        for index, each in enumerate(self.paths):
            rows = path == index
            if rows.any():
                yield each, rows, tokens[rows]
