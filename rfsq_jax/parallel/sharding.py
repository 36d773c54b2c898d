"""Where arrays live: a mesh of named axes, and one table from parameter names to axes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXES = ("data", "fsdp", "tensor")
Rules = Sequence[tuple[str, PartitionSpec]]
REPLICATED: Rules = ((r".*", PartitionSpec()),)


def make_mesh(
    data: int = -1, fsdp: int = 1, tensor: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
    """Returns a mesh over the devices, those of all hosts by default; -1 takes what is left.

    Raises:
      ValueError: if the axes do not multiply to the number of devices.
    """
    grid = np.asarray(jax.devices() if devices is None else devices)
    shape = [data, fsdp, tensor]
    if shape.count(-1) > 1 or any(size < 1 and size != -1 for size in shape):
        raise ValueError(f"mesh axes must be positive, at most one of them -1, got {shape}")
    known = math.prod(size for size in shape if size != -1)
    shape = [grid.size // known if size == -1 else size for size in shape]
    if math.prod(shape) != grid.size:
        axes = dict(zip(AXES, shape, strict=True))
        raise ValueError(f"mesh {axes} must hold {grid.size} devices, got {math.prod(shape)}")
    return Mesh(grid.reshape(shape), AXES)


def spec_for(path: str, rules: Rules) -> PartitionSpec:
    """Returns the first rule whose pattern matches the whole path; a miss is an error."""
    for pattern, spec in rules:
        if re.fullmatch(pattern, path):
            return spec
    raise KeyError(f"no sharding rule for {path!r}; add one to the rules")


def tree_shardings(tree: Any, mesh: Mesh, rules: Rules) -> Any:
    """Returns the sharding of every leaf, by its path."""

    def place(path: tuple[Any, ...], _: Any) -> NamedSharding:
        return NamedSharding(mesh, spec_for(leaf_path(path), rules))

    return jax.tree_util.tree_map_with_path(place, tree)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Batches are split over the data and fsdp axes, on their first axis."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def place(tree: Any, mesh: Mesh, rules: Rules) -> Any:
    """Puts host arrays, which every process holds whole, onto the mesh."""

    def put(leaf: Any, sharding: NamedSharding) -> jax.Array:
        if jax.process_count() == 1:
            return jax.device_put(leaf, sharding)
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(put, tree, tree_shardings(tree, mesh, rules))


def leaf_path(path: tuple[Any, ...]) -> str:
    """A leaf's path as text: params/encoder_in/kernel."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
