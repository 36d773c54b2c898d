"""Reads features that train.features wrote: memory-mapped, any rows in any order.

Axes: N frames · S feature tokens · E width · T steps of a chunk · A action dims.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from rfsq_jax.backbones.protocol import DEPTHS, BackboneSpec, require_depth
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.features.manifest import Manifest, read_manifest
from rfsq_jax.features.shards import DTYPES, check_shard, open_features, read_columns


class FeatureStore:
    """Frames with features; safe to read from threads.

    Attributes:
      manifest: what the folder says of itself.
      state: float32 [N, 8], raw.
      actions: float32 [N, T, A], robot units: the chunk that begins at the frame.
      episode: int32 [N], number within the run.
      frame: int32 [N], step within the episode.
      held_out: bool [N].
      instruction: int32 [N], index into `manifest.instructions`.
    """

    manifest: Manifest
    state: Float[np.ndarray, "n 8"]
    actions: Float[np.ndarray, "n t a"]
    episode: Int[np.ndarray, " n"]
    frame: Int[np.ndarray, " n"]
    held_out: Bool[np.ndarray, " n"]
    instruction: Int[np.ndarray, " n"]

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Reads the columns; use `open`, which also checks the files."""
        self.manifest = manifest
        folders = [Path(folder) / shard.name for shard in manifest.shards]
        columns = [read_columns(each) for each in folders]
        shapes = {column["actions"].shape[1:] for column in columns}
        if len(shapes) > 1:
            raise ValueError(f"{folder}: actions must have one shape in all shards, got {shapes}")
        for name in columns[0]:
            setattr(self, name, np.concatenate([column[name] for column in columns]))
        self._starts = np.cumsum([0, *(len(column["frame"]) for column in columns)])
        self._maps = {
            name: [
                open_features(each, name, manifest.depths[name], manifest.dtype) for each in folders
            ]
            for name in DEPTHS
        }
        self._check(folder)

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool = True) -> FeatureStore:
        """Opens a finished folder.

        Args:
          folder: what train.features wrote.
          verify: whether to read everything once and compare checksums; sizes are always compared.

        Raises:
          FileNotFoundError: if there are no features.
          ValueError: if they are unfinished, of a newer format, cut short or altered.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        for shard in manifest.shards:
            check_shard(folder / shard.name, contents=verify, sha256=shard.sha256)
        return cls(folder, manifest)

    def _check(self, folder: Path) -> None:
        """Raises a ValueError if shards have columns that do not fit each other."""
        for name, maps in self._maps.items():
            counts = np.diff(self._starts).tolist()
            if (found := [len(each) for each in maps]) != counts:
                raise ValueError(f"{folder}: {name} must have {counts} rows by shard, got {found}")
        known = len(self.manifest.instructions)
        if not ((self.instruction >= 0) & (self.instruction < known)).all():
            raise ValueError(f"{folder}: instruction must count {known} sentences")

    def __len__(self) -> int:
        return len(self.frame)

    def rows(self, split: str) -> Int[np.ndarray, " m"]:
        """The rows of "train", "held_out" or "all" episodes.

        Raises:
          ValueError: for another name.
        """
        choices = {
            "train": ~self.held_out,
            "held_out": self.held_out,
            "all": np.ones_like(self.held_out),
        }
        if split not in choices:
            raise ValueError(f"split must be one of {', '.join(choices)}, got {split!r}")
        return np.flatnonzero(choices[split])

    def gather(self, depth: str, rows: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m s e"]:
        """Features of these rows, in this order, in the dtype on disk.

        Raises:
          IndexError: if a row does not exist.
          ValueError: for a depth that does not exist.
        """
        require_depth(depth)
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"rows must be in 0..{len(self) - 1}, got {rows.min()}..{rows.max()}")
        shape = self.manifest.depths[depth]
        dtype = DTYPES[self.manifest.dtype]
        out = np.empty((len(rows), shape.tokens, shape.width), dtype)
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        for shard in np.unique(shards):
            places = np.flatnonzero(shards == shard)
            out[places] = self._maps[depth][shard][rows[places] - self._starts[shard]]
        return out

    def require(self, spec: BackboneSpec, space: ActionSpace) -> None:
        """Checks that the features are what heads on this backbone, of these actions, expect.

        Raises:
          ValueError: if backbone, depths, chunk shape or action statistics differ.
        """
        found = self.manifest
        _same("backbone", (spec.name, spec.version), (found.backbone, found.version))
        _same("depths", dict(spec.depths), dict(found.depths))
        chunk = (space.horizon, space.action_dim)
        _same("chunk shape (steps, dims)", chunk, self.actions.shape[1:])
        expected = space.normalization.to_dict()
        _same("action statistics", expected, found.action_statistics.to_dict())


def _same(field: str, expected: Any, got: Any) -> None:
    if expected != got:
        raise ValueError(
            f"the features' {field} must be what the heads expect: {expected}, got {got}; "
            "make them again with train.features"
        )
