"""Reads features that train.features wrote: memory-mapped, any rows in any order.

Axes: N frames · S feature tokens · E width · T steps of a chunk · A action dims.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from rfsq_jax.backbones.protocol import DEPTHS, BackboneSpec, Depth, require_depth
from rfsq_jax.data.action_space import ActionSpace, Normalization
from rfsq_jax.features.shards import DTYPES, check_shard, open_features, read_columns
from rfsq_jax.runs.json_files import read_json

FORMAT_VERSION = 1
MANIFEST = "features.json"


@dataclasses.dataclass(frozen=True, eq=False)
class Manifest:
    """What a folder of features holds.

    Attributes:
      backbone: the backbone's name.
      version: the backbone's version.
      depths: shape of the features by depth.
      action_statistics: normalisation of the actions that the features were made for.
      dtype: "float16" or "bfloat16".
      instructions: the sentences that the column `instruction` counts.
      shards: names of the shards' folders, in order.
    """

    backbone: str
    version: str
    depths: Mapping[str, Depth]
    action_statistics: Normalization
    dtype: str
    instructions: tuple[str, ...]
    shards: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "format_version": FORMAT_VERSION,
            "backbone": {"name": self.backbone, "version": self.version},
            "depths": {name: dataclasses.asdict(depth) for name, depth in self.depths.items()},
            "action_statistics": self.action_statistics.to_dict(),
            "dtype": self.dtype,
            "instructions": list(self.instructions),
            "shards": list(self.shards),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Manifest:
        """The inverse of `to_dict`."""
        return cls(
            backbone=values["backbone"]["name"],
            version=values["backbone"]["version"],
            depths={name: Depth(**depth) for name, depth in values["depths"].items()},
            action_statistics=Normalization.from_dict(values["action_statistics"]),
            dtype=values["dtype"],
            instructions=tuple(values["instructions"]),
            shards=tuple(values["shards"]),
        )


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
        folders = [Path(folder) / name for name in manifest.shards]
        columns = [read_columns(each) for each in folders]
        for name in columns[0]:
            setattr(self, name, np.concatenate([column[name] for column in columns]))
        self._starts = np.cumsum([0, *(len(column["frame"]) for column in columns)])
        self._maps = {
            depth: [open_features(each, depth, manifest.dtype) for each in folders]
            for depth in DEPTHS
        }

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
        for name in manifest.shards:
            check_shard(folder / name, contents=verify)
        return cls(folder, manifest)

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


def read_manifest(folder: Path) -> Manifest:
    """Reads features.json; errors as in `FeatureStore.open`."""
    path = folder / MANIFEST
    if not path.is_file():
        if (folder / "config.json").is_file():
            raise ValueError(f"{folder} is unfinished; run train.features again to finish it")
        raise FileNotFoundError(f"no features in {folder}; make them with train.features")
    values = read_json(path)
    if values.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} must have format version {FORMAT_VERSION}, got {values.get('format_version')}"
        )
    try:
        return Manifest.from_dict(values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error


def _same(field: str, expected: Any, got: Any) -> None:
    if expected != got:
        raise ValueError(
            f"the features' {field} must be what the heads expect: {expected}, got {got}; "
            "make them again with train.features"
        )
