"""Finds the files of a TFDS folder and checks its description before anything is read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rfsq_jax.runs.json_files import read_json

FEATURES, INFO = "features.json", "dataset_info.json"
MAX_NESTING = 20
_SPLIT = re.compile(r"\w[\w.+-]*")


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
      ValueError: if the folder has no such split, other fields or other files, or is damaged.
    """
    _check_features(folder, widths)
    counts = _shard_lengths(folder, split)
    numbers = _numbered(folder, split, len(counts))
    missing = sorted(set(range(len(counts))) - numbers.keys())
    if missing:
        raise FileNotFoundError(
            f"{folder} must hold {len(counts)} .tfrecord files of the split {split!r}, "
            f"got {len(numbers)}; the first that is missing is number {missing[0]}"
        )
    return [Shard(numbers[number], count) for number, count in enumerate(counts)]


def _numbered(folder: Path, split: str, count: int) -> dict[int, Path]:
    """The files of a split by their numbers; all must be of one data set of `count` files."""
    name = re.compile(rf"(.*)-{re.escape(split)}\.tfrecord-(\d{{5}})-of-(\d{{5}})")
    found = [(match, path) for path in folder.iterdir() if (match := name.fullmatch(path.name))]
    found.sort(key=lambda pair: pair[1])
    of = {(match[1], int(match[3])) for match, _ in found}
    if len(of) > 1 or (of and of.pop()[1] != count):
        names = ", ".join(path.name for _, path in found[:4])
        raise ValueError(
            f"{folder} must hold {count} .tfrecord files of the split {split!r}, as {INFO} says, "
            f"all of one data set; got {len(found)}: {names}"
        )
    numbers = {int(match[2]): path for match, path in found}
    if numbers and max(numbers) >= count:
        raise ValueError(f"{numbers[max(numbers)]} must have a number below {count}")
    return numbers


def _shard_lengths(folder: Path, split: str) -> list[int]:
    path = folder / INFO
    splits = _member(_read(path), "splits", list, path)
    lengths: dict[str, list[int]] = {}
    for each in splits:
        name = _member(each, "name", str, path)
        if not _SPLIT.fullmatch(name) or name in lengths:
            raise ValueError(f"{path}: splits must each have a name of its own, got {name!r}")
        lengths[name] = [_count(each, path) for each in _member(each, "shardLengths", list, path)]
    if split not in lengths:
        known = ", ".join(lengths) or "none"
        raise ValueError(f"split must be one that {path} has ({known}), got {split!r}")
    return lengths[split]


def _count(value: Any, path: Path) -> int:
    if not isinstance(value, str | int) or not re.fullmatch(r"[0-9]{1,9}", str(value)):
        raise ValueError(f"{path}: shardLengths must be numbers of episodes, got {value!r:.80}")
    return int(value)


def _check_features(folder: Path, widths: Mapping[str, int | None]) -> None:
    path = folder / FEATURES
    declared = dict(_leaves(_read(path), path))
    for name, width in widths.items():
        if name not in declared:
            known = ", ".join(sorted(each for each in declared if each.startswith("steps/")))
            raise ValueError(f"{path} must have the field {name}, got {known or 'none'}")
        if width is not None:
            tensor = _member(declared[name], "tensor", dict, path)
            shape = _member(_member(tensor, "shape", dict, path), "dimensions", list, path)
            if shape != [str(width)]:
                raise ValueError(f"{path}: {name} must have shape [{width}], got {shape!r:.80}")


def _leaves(feature: Any, path: Path, name: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of a nested description; a sequence adds no name of its own."""
    pending = [(feature, name, 0)]
    while pending:
        feature, name, depth = pending.pop()
        if depth > MAX_NESTING or not isinstance(feature, dict):
            raise ValueError(f"{path}: {name or 'it'} must describe a field, got {feature!r:.80}")
        if "sequence" in feature:
            inner = _member(_member(feature, "sequence", dict, path), "feature", dict, path)
            pending.append((inner, name, depth + 1))
        elif "featuresDict" in feature:
            parts = _member(_member(feature, "featuresDict", dict, path), "features", dict, path)
            prefix = f"{name}/" if name else ""
            pending += [(part, prefix + key, depth + 1) for key, part in parts.items()]
        else:
            yield name, feature


def _member(table: Any, key: str, kind: type, path: Path) -> Any:
    value = table.get(key) if isinstance(table, dict) else None
    if not isinstance(value, kind):
        raise ValueError(f"{path}: {key} must be a {kind.__name__}, got {value!r:.80}")
    return value


def _read(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"an RLDS folder must hold {path.name}; there is no {path}")
    return read_json(path)
