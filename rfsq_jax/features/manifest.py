"""features.json: what a folder of features holds, and the hash of each of its shards."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rfsq_jax.backbones.protocol import DEPTHS, Depth
from rfsq_jax.data.action_space import Normalization
from rfsq_jax.features.config import FeatureDtype
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.descriptions import VERSION, read_versioned, write_sealed
from rfsq_jax.runs.records import parse_record

FORMAT_VERSION = 2
"""The first format had no hashes; it is still read."""
MANIFEST = "features.json"


@dataclasses.dataclass(frozen=True)
class ShardEntry:
    """One shard.

    Attributes:
      name: of its folder.
      sha256: of what its shard.json says; None in the first format.
    """

    name: str
    sha256: str | None = None

    def __post_init__(self) -> None:
        plain = Path(self.name).name == self.name
        require(plain, "name", "the name of a folder beside the file", self.name)


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
      shards: in order.
    """

    backbone: str
    version: str
    depths: Mapping[str, Depth]
    action_statistics: Normalization
    dtype: FeatureDtype
    instructions: tuple[str, ...]
    shards: tuple[ShardEntry, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            VERSION: FORMAT_VERSION,
            "backbone": {"name": self.backbone, "version": self.version},
            "depths": {name: dataclasses.asdict(depth) for name, depth in self.depths.items()},
            "action_statistics": self.action_statistics.to_dict(),
            "dtype": self.dtype,
            "instructions": list(self.instructions),
            "shards": [dataclasses.asdict(shard) for shard in self.shards],
        }


@dataclasses.dataclass(frozen=True)
class BackboneFile:
    """Which backbone made the features."""

    name: str
    version: str


@dataclasses.dataclass(frozen=True)
class ManifestFile:
    """features.json without its hash; see `Manifest`."""

    format_version: int
    backbone: BackboneFile
    depths: dict[str, Depth]
    action_statistics: dict[str, Any]
    dtype: FeatureDtype
    instructions: tuple[str, ...]
    shards: tuple[ShardEntry, ...]

    def __post_init__(self) -> None:
        require(set(self.depths) == set(DEPTHS), "depths", ", ".join(DEPTHS), list(self.depths))
        names = [shard.name for shard in self.shards]
        require(len(names) > 0, "shards", "at least one", names)
        require(len(set(names)) == len(names), "shards", "without repeats", names)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes features.json: from now on the folder is finished."""
    write_sealed(folder / MANIFEST, manifest.to_dict())


def read_manifest(folder: Path) -> Manifest:
    """Reads features.json.

    Raises:
      FileNotFoundError: if there are no features.
      ValueError: if they are unfinished, or the file is damaged or of a newer format.
    """
    path = folder / MANIFEST
    if not path.is_file():
        if (folder / "config.json").is_file():
            raise ValueError(f"{folder} is unfinished; run train.features again to finish it")
        raise FileNotFoundError(f"no features in {folder}; make them with train.features")
    values = read_versioned(path, "folder of features", newest=FORMAT_VERSION, sealed_since=2)
    if values[VERSION] == 1:
        values["shards"] = _shards_of_first_format(values)
    stored = parse_record(ManifestFile, values, str(path))
    try:
        normalization = Normalization.from_dict(stored.action_statistics)
    except ValueError as error:
        raise ValueError(f"{path}: action_statistics: {error}") from error
    return Manifest(
        backbone=stored.backbone.name,
        version=stored.backbone.version,
        depths=stored.depths,
        action_statistics=normalization,
        dtype=stored.dtype,
        instructions=stored.instructions,
        shards=stored.shards,
    )


def _shards_of_first_format(values: Mapping[str, Any]) -> Any:
    """Names alone; whatever else stands there is left for the check of types."""
    found = values.get("shards")
    return [{"name": name} for name in found] if isinstance(found, list) else found
