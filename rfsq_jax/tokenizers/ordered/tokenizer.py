"""Few ordered tokens for a whole chunk, each of at most 4,096 values; every sequence decodes.

    headers     one token for each gripper's pattern over the chunk
    token 1..N  coarse first: the rest, as cosine coefficients over time, along one of two paths
The dense path is conditional RFSQ trained on a robot's own data. The shared path is one small
network for all robots, which needs no more than the data's statistics: it serves where there is
little data, and whatever chunk the dense path does not reach. A chunk's first token says which.

Axes: B chunks · T steps of a chunk · A action dims · H headers · N tokens without headers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from rfsq_jax.data.action_range import Check
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.runs.canonical import canonical
from rfsq_jax.runs.checks import require, require_int
from rfsq_jax.runs.records import parse_record
from rfsq_jax.tokenizers.ids import check_ids, is_flat_ids, require_prefix
from rfsq_jax.tokenizers.ordered import record, round_trip
from rfsq_jax.tokenizers.ordered.codec import Codec
from rfsq_jax.tokenizers.ordered.paths import DensePath, SharedPath
from rfsq_jax.tokenizers.ordered.record import OrderedConfig
from rfsq_jax.tokenizers.protocol import ActionTokenizer

if TYPE_CHECKING:
    from rfsq_jax.training.ordered.training import OrderedTrainingConfig


class OrderedTokenizer(ActionTokenizer):
    """Robot actions <-> ids int32 [B, H + N].

    Every id from 0 to vocab_size - 1 may stand at every place: beyond the values of a place, ids
    start again from its first one. Every prefix decodes, that of no ids too.

    Attributes:
      config: sizes.
      shared: the path of any chunk.
      dense: the path of chunks like those it was trained on; None without one.
    """

    kind = "ordered"

    def __init__(
        self,
        space: ActionSpace,
        config: OrderedConfig,
        shared: SharedPath,
        dense: DensePath | None = None,
    ) -> None:
        super().__init__(space)
        self.config, self.shared, self.dense = config, shared, dense
        self._codec = Codec(
            coefficients=record.coefficients_of(space, config),
            headers=config.headers(space.horizon),
            paths=(shared,) if dense is None else (dense, shared),
            largest_error=config.largest_error,
        )

    @classmethod
    def fit_chunks(
        cls,
        space: ActionSpace,
        chunks: Float[np.ndarray, "b t a"],
        *,
        num_tokens: int | None = None,
        training: OrderedTrainingConfig | None = None,
        seed: int = 0,
        dense: bool = True,
    ) -> OrderedTokenizer:
        """Measures the statistics, and trains a dense path where there are chunks enough.

        Args:
          space: of the chunks.
          chunks: float32 [B, T, A], episodes in order; runs of neighbours are held out.
          num_tokens: tokens besides headers; by default some that grow with T and A.
          training: how; by default minutes of it.
          seed: of the training, where no `training` is given.
          dense: False trains nothing: the shared path alone, in a second.
        """
        from rfsq_jax.training.ordered import fitting

        return fitting.fit(
            space, chunks, num_tokens=num_tokens, training=training, seed=seed, dense=dense
        )

    @classmethod
    def from_parts(
        cls, space: ActionSpace, config: Mapping[str, Any], arrays: Mapping[str, Any]
    ) -> OrderedTokenizer:
        """The inverse of `config_dict` and `arrays`."""
        sizes = parse_record(OrderedConfig, dict(config), "config")
        coefficients, found = record.coefficients_of(space, sizes), dict(arrays)
        shared = record.shared_from(sizes, coefficients, found)
        return cls(space, sizes, shared, record.dense_from(sizes, coefficients, found))

    def config_dict(self) -> dict[str, Any]:
        """Sizes of headers, tokens and networks."""
        return canonical(self.config)

    def arrays(self) -> dict[str, Any]:
        """The networks of both paths, and the data's statistics."""
        return record.to_arrays(self.shared, self.dense)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each place has; of chunks on the shared path all 4,096 after headers."""
        values = self._codec.paths[0].num_values
        return (*self._codec.headers.sizes, *[values] * self.config.num_tokens)

    @property
    def vocab_size(self) -> int:
        """Ids at every place."""
        values = [path.num_values for path in self._codec.paths]
        return max([*self._codec.headers.sizes, *values])

    @property
    def tokens_per_chunk(self) -> int:
        """H + N."""
        return len(self._codec.headers.sizes) + self.config.num_tokens

    @property
    def prefix_lengths(self) -> tuple[int, ...]:
        """All, from 0 on."""
        return tuple(range(self.tokens_per_chunk + 1))

    @property
    def prefix_bits(self) -> tuple[float, ...]:
        """The places' values, each at log2 of their number."""
        return (0.0, *itertools.accumulate(math.log2(size) for size in self.sizes))

    @property
    def bits_per_chunk(self) -> float:
        """Of all places."""
        return self.prefix_bits[-1]

    def encode(
        self, actions: Any, check: Check = "warn", *, beam: int = 1
    ) -> Int[np.ndarray, "*b n"]:
        """Returns ids int32 [B, H + N], or [H + N] of one chunk; see `ActionTokenizer.encode`.

        Args:
          actions: float [B, T, A] or [T, A], robot units.
          check: as everywhere; "warn" and "raise" also speak of chunks whose round trip errs more
            than `config.largest_error`.
          beam: sequences that the search keeps; more find better ones, and take as much longer.

        Raises:
          ValueError: also for a beam below 1.
        """
        chunks, single = self._checked(actions, check)
        ids = self._encode(chunks, check, beam)
        return ids[0] if single else ids

    def __call__(
        self, actions: Any, check: Check = "warn", *, tolerance: Any = None, beam: int = 1
    ) -> list[list[int]]:
        """Returns one flat list of ids per chunk, coarse first.

        Args:
          actions: as `encode`.
          check: as `encode`; also of chunks that miss the tolerance with all of their ids.
          tolerance: cuts each chunk at its shortest prefix within it: the largest error of every
            action, in robot units, one number or one for each dim; by default nothing is cut.
          beam: as `encode`.
        """
        chunks, _ = self._checked(actions, check)
        ids = self._encode(chunks, check, beam)
        if tolerance is None:
            return self.flatten(ids)
        lengths = round_trip.shortest_within(self, chunks, ids, tolerance, check)
        return [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]

    def encode_chunks(self, chunks: Float[np.ndarray, "b t a"]) -> Int[np.ndarray, "b n"]:
        """Checked chunks in robot units -> ids int32 [B, H + N]."""
        return self._codec.encode(chunks)[0]

    def decode(self, tokens: Any, num_tokens: int | None = None) -> Float[np.ndarray, "*b t a"]:
        """Ids, or the first ones of each chunk -> actions float32 [B, T, A] or [T, A], robot units.

        Args:
          tokens: int [B, n] or [n], n from 0 to H + N; or flat lists, each of any such length.
          num_tokens: how many of the first ids to decode; all that are given by default.

        Raises:
          ValueError: on another shape, more ids than a chunk has, or ids beyond the vocabulary.
          TypeError: if ids or num_tokens are not integers.
        """
        if num_tokens is not None:
            require_int(num_tokens, "num_tokens")
            require_prefix(int(num_tokens), self.prefix_lengths)
        if is_flat_ids(tokens) and len({len(row) for row in tokens}) > 1:
            return self._decode_lists(tokens, num_tokens)
        ids, most = check_ids(tokens, self.vocab_size), self.tokens_per_chunk
        fits = ids.ndim in (1, 2) and ids.shape[-1] <= most
        require(fits, "tokens", f"of shape [B, n] or [n] with n at most {most}", ids.shape)
        actions = self._codec.decode(np.atleast_2d(ids)[:, :num_tokens])
        return actions[0] if ids.ndim == 1 else actions

    def decode_prefix(self, tokens: Any, length: int) -> Float[np.ndarray, "*b t a"]:
        """Decodes the first ids."""
        return self.decode(tokens, num_tokens=length)

    def decode_prefixes(self, ids: Int[np.ndarray, "b n"]) -> Float[np.ndarray, "b m t a"]:
        """The actions of every prefix from the headers alone on: N + 1 of each chunk."""
        return self._codec.decode_prefixes(ids)

    def each_prefix(self, tokens: Any) -> Iterator[Float[np.ndarray, "b t a"]]:
        """Yields as in every kind; all that have the headers come from one pass."""
        for length in range(len(self._codec.headers.sizes)):
            yield self.decode(tokens, num_tokens=length)
        yield from np.moveaxis(self.decode_prefixes(tokens), 1, 0)

    def flatten(self, tokens: Int[np.ndarray, "b n"]) -> list[list[int]]:
        """One list of ids per chunk."""
        return tokens.tolist()

    def _encode(
        self, chunks: Float[np.ndarray, "b t a"], check: Check, beam: int
    ) -> Int[np.ndarray, "b n"]:
        require_int(beam, "beam")
        require(beam >= 1, "beam", "at least 1", beam)
        ids, error = self._codec.encode(chunks, beam)
        missed = np.flatnonzero(error > self.config.largest_error)
        if len(missed):
            round_trip.report(self, chunks[missed], ids[missed], len(chunks), check)
        return ids

    def _decode_lists(self, tokens: Any, num_tokens: int | None) -> Float[np.ndarray, "b t a"]:
        """Of several lengths: those of one length together."""
        lengths = np.array([len(row[:num_tokens]) for row in tokens])
        actions = np.empty((len(tokens), self.horizon, self.action_dim), np.float32)
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            actions[rows] = self.decode([list(tokens[row])[:length] for row in rows])
        return actions
