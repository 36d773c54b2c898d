"""Orbax copies of checkpoints: the parameters as the model has them, read straight to shards.

A copy's folder holds the arrays in ARRAYS, what they were made of in FILE, and the published
folder's small files beside them.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from orbax.checkpoint import v1 as ocp

from rfsq_jax.backbones.openvla.config import OFTConfig
from rfsq_jax.backbones.openvla.layout import RULES, Leaf
from rfsq_jax.parallel.sharding import spec_for
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.descriptions import VERSION, read_versioned, write_sealed
from rfsq_jax.runs.records import parse_record
from rfsq_jax.runs.trees import flatten, require_same, unflatten

FILE, ARRAYS = "parameters.json", "parameters"
FORMAT_VERSION = 2
"""The first had no hash over the description."""
DAMAGE = (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError)
"""What Orbax and TensorStore raise for files that are not as they wrote them."""
CHUNK_BYTES = 2**26
"""Read at once; small enough that no host reads much more than its shards."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a copy was made of.

    Attributes:
      weights: `checkpoint.weights_digest` of the published files.
      oft: sizes of OFT's parts, where the checkpoint has them.
      files: bytes of the arrays' files, by their paths below ARRAYS.
    """

    weights: str
    oft: OFTConfig | None
    files: dict[str, int]

    def __post_init__(self) -> None:
        digest = re.fullmatch("[0-9a-f]{64}", self.weights)
        require(digest is not None, "weights", "a sha256", self.weights)
        require(len(self.files) > 0, "files", "a table of sizes", self.files)
        for name, size in self.files.items():
            require(size >= 0, f"files: {name}", "a number of bytes", size)


def is_converted(folder: Path) -> bool:
    """Whether a folder is an Orbax copy."""
    return (folder / FILE).is_file()


def write_origin(folder: Path, origin: Origin) -> None:
    """Writes what a copy was made of."""
    write_sealed(folder / FILE, {VERSION: FORMAT_VERSION, **dataclasses.asdict(origin)})


def read_origin(folder: Path) -> Origin:
    """What a copy was made of.

    Raises:
      ValueError: if its file is damaged, or newer than this rfsq_jax.
    """
    path = folder / FILE
    table = read_versioned(path, "copy of OpenVLA", newest=FORMAT_VERSION, sealed_since=2)
    del table[VERSION]
    return parse_record(Origin, table, str(path))


def write_arrays(folder: Path, arrays: Iterable[tuple[str, np.ndarray]]) -> None:
    """Writes arrays by path, one after the other; only one need exist at a time."""
    context = ocp.Context()
    # Trained numbers barely shrink, and unpacking them takes longer than reading them.
    context.array.saving.use_compression = False
    context.array.saving.storage_options.chunk_byte_size = CHUNK_BYTES
    context.memory.deepcopy_host_arrays = False
    target = str((folder / ARRAYS).resolve())
    with context:
        for path, array in arrays:
            ocp.partial.save(target, unflatten({path: array}))
            # Or it would live until the next one is made.
            del array
        ocp.partial.finalize(target)


def list_files(folder: Path) -> dict[str, int]:
    """Bytes of the arrays' files, by their paths."""
    files = sorted(each for each in (folder / ARRAYS).rglob("*") if each.is_file())
    return {str(each.relative_to(folder / ARRAYS)): each.stat().st_size for each in files}


def read_arrays(folder: Path, table: dict[str, Leaf], mesh: Mesh, dtype: Any) -> dict[str, Any]:
    """Reads the parameters to their shards, each host its own only.

    The host holds, beside them, no more than the largest.

    Raises:
      ValueError: if arrays are missing, unknown, of another shape or damaged.
    """
    source = (folder / ARRAYS).resolve()
    _require_files(source, read_origin(folder).files, list_files(folder))
    stored = _named(source, lambda: flatten(_metadata(source)))
    shapes = {path: leaf.shape for path, leaf in table.items()}
    found = {path: tuple(each.shape) for path, each in stored.items()}
    require_same(f"{source} has other arrays than its config", shapes, found)

    def abstract(path: str, leaf: Leaf) -> jax.ShapeDtypeStruct:
        sharding = NamedSharding(mesh, spec_for(path, RULES))
        return jax.ShapeDtypeStruct(leaf.shape, dtype, sharding=sharding)

    wanted = unflatten({path: abstract(path, leaf) for path, leaf in table.items()})
    widest = max(np.dtype(dtype).itemsize, *(each.dtype.itemsize for each in stored.values()))
    largest = max(math.prod(leaf.shape) for leaf in table.values()) * widest
    # The limit itself is refused.
    context = ocp.Context()
    context.memory.read_concurrent_bytes = largest + 1
    with context:
        return _named(source, lambda: ocp.load(str(source), wanted))


def _require_files(source: Path, wanted: dict[str, int], found: dict[str, int]) -> None:
    # TensorStore's own error names an array's index, but not the array.
    problems = [
        f"{name} must have {size} bytes, got {found.get(name, 'no file')}"
        for name, size in wanted.items()
        if found.get(name) != size
    ]
    if problems:
        raise ValueError(f"{source} is damaged: {'; '.join(problems)}")


def _metadata(source: Path) -> Any:
    found = ocp.metadata(str(source)).metadata
    if not isinstance(found, dict):
        raise ValueError("its arrays cannot be listed")
    return found


def _named(source: Path, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except DAMAGE as error:
        raise ValueError(f"{source} is damaged: {error}") from error
