"""The first tokens of a chunk: one for each gripper, and which path the others belong to.

    id = word + (number of words) * path          path only in the first header
A tokenizer with two paths and no gripper has one header, which says the path.

Axes: B chunks · T steps of a chunk · P grippers · H headers.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Int

from rfsq_jax.tokenizers.ordered import grippers


@dataclasses.dataclass(frozen=True)
class Headers:
    """What the first tokens of every chunk mean.

    Attributes:
      horizon: T.
      switches: the most switches of a word, for each gripper.
      num_paths: 1 or 2.
      usual: the ids that stand where a prefix ends before them, for each header.
    """

    horizon: int
    switches: tuple[int, ...]
    num_paths: int
    usual: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each header has."""
        sizes = [grippers.num_words(self.horizon, each) for each in self.switches]
        if self.num_paths > 1:
            sizes = [(sizes[0] if sizes else 1) * self.num_paths, *sizes[1:]]
        return tuple(sizes)

    def encode(
        self, patterns: Bool[np.ndarray, "b t p"], path: Int[np.ndarray, " b"]
    ) -> Int[np.ndarray, "b h"]:
        """Gripper patterns and paths -> ids."""
        columns = [
            grippers.encode(patterns[..., index], switches)
            for index, switches in enumerate(self.switches)
        ]
        if self.num_paths > 1:
            first = columns[0] if columns else np.zeros(len(path), np.int32)
            words = self.sizes[0] // self.num_paths
            columns = [first + words * path.astype(np.int32), *columns[1:]]
        return np.stack(columns, axis=-1) if columns else np.zeros((len(path), 0), np.int32)

    def decode(
        self, ids: Int[np.ndarray, "b n"]
    ) -> tuple[Bool[np.ndarray, "b t p"], Int[np.ndarray, " b"]]:
        """Ids of the first headers, or of more tokens -> patterns and paths.

        An id beyond a header's values starts again from 0.
        """
        sizes = np.array(self.sizes, np.int64)
        whole = np.tile(np.array(self.usual, np.int64), (len(ids), 1))
        given = ids[:, : len(sizes)]
        whole[:, : given.shape[1]] = given
        whole %= sizes
        path = np.zeros(len(ids), np.int64)
        if self.num_paths > 1:
            path, first = np.divmod(whole[:, 0], self.sizes[0] // self.num_paths)
            whole = np.concatenate([first[:, None], whole[:, 1:]], axis=1)
        patterns = [
            grippers.decode(whole[:, index], self.horizon, switches)
            for index, switches in enumerate(self.switches)
        ]
        shape = (len(ids), self.horizon, 0)
        return np.stack(patterns, axis=-1) if patterns else np.zeros(shape, bool), path
