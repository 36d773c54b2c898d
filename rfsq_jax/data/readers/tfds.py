"""Finds the files of a TFDS folder and checks its description before anything is read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rfsq_jax.runs.json_files import read_json

_SHARD = re.compile(r".*\.tfrecord-(\d{5})-of-(\d{5})$")


@dataclasses.dataclass(frozen=True)
class Shard:
    """One .tfrecord file.

    Attributes:
      path: where it is.
      episodes: how many records it should hold, as dataset_info.json says.
    """

    path: Path
    episodes: int


def is_tfds(folder: Path) -> bool:
    """Whether a folder holds .tfrecord files."""
    return any(Path(folder).glob("*.tfrecord-*"))


def find_shards(folder: Path, split: str, widths: Mapping[str, int | None]) -> list[Shard]:
    """Returns the files of a split, in order; all must be there.

    Args:
      folder: holds features.json, dataset_info.json and the files.
      split: a split that the folder has.
      widths: fields that features.json must declare, such as "steps/action", with the numbers per
        step that they must have (None: not numbers).

    Raises:
      FileNotFoundError: if the folder or one of its files does not exist.
      ValueError: if the folder has no such split, or other fields.
    """
    _check_features(folder, widths)
    counts = _shard_lengths(folder, split)
    paths = sorted(folder.glob(f"*-{split}.tfrecord-*"))
    numbers = {int(found[1]): path for path in paths if (found := _SHARD.match(path.name))}
    missing = sorted(set(range(len(counts))) - numbers.keys())
    if missing:
        raise FileNotFoundError(
            f"{folder} must hold {len(counts)} .tfrecord files of the split {split!r}, "
            f"got {len(numbers)}; the first that is missing is number {missing[0]}"
        )
    return [Shard(numbers[number], count) for number, count in enumerate(counts)]


def _shard_lengths(folder: Path, split: str) -> list[int]:
    path = folder / "dataset_info.json"
    splits = {each["name"]: each["shardLengths"] for each in _read(path).get("splits", [])}
    if split not in splits:
        known = ", ".join(splits) or "none"
        raise ValueError(f"split must be one that {path} has ({known}), got {split!r}")
    return [int(each) for each in splits[split]]


def _check_features(folder: Path, widths: Mapping[str, int | None]) -> None:
    path = folder / "features.json"
    declared = dict(_leaves(_read(path)))
    for name, width in widths.items():
        if name not in declared:
            known = ", ".join(sorted(each for each in declared if each.startswith("steps/")))
            raise ValueError(f"{path} must have the field {name}, got {known or 'none'}")
        shape = declared[name].get("tensor", {}).get("shape", {}).get("dimensions", [])
        if width is not None and shape != [str(width)]:
            raise ValueError(f"{path}: {name} must have shape [{width}], got {shape}")


def _leaves(feature: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The fields of a nested description; a sequence adds no name of its own."""
    if "sequence" in feature:
        yield from _leaves(feature["sequence"]["feature"], name)
    elif "featuresDict" in feature:
        for key, part in feature["featuresDict"]["features"].items():
            yield from _leaves(part, f"{name}/{key}" if name else key)
    else:
        yield name, feature


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"an RLDS folder must hold {path.name}; there is no {path}")
    return read_json(path)
