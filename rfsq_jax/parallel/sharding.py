"""Where arrays live: a mesh of named axes, and one table from parameter names to axes."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXES = ("data", "fsdp", "tensor")
Rules = Sequence[tuple[str, PartitionSpec]]
SpecOf = Callable[[str, Rules], PartitionSpec]
REPLICATED: Rules = ((r".*", PartitionSpec()),)
STATE: Rules = (
    (r"step|opt_state/(?:.*/)?count", PartitionSpec()),
    (r"model_state/.*", PartitionSpec()),
)
"""Of a `TrainState`, what is not one value for each parameter."""
OF_PARAMETERS = re.compile(r"(?:params|ema_params|opt_state/(?:.*/)?(?:mu|nu))/(.*)")


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How devices divide the work.

    Attributes:
      data: parts of the batch, each with all parameters; -1 takes what the others leave.
      fsdp: parts of the batch, each with a part of the parameters.
      tensor: parts of every matrix; these devices should be of one host.
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        sizes = [self.data, self.fsdp, self.tensor]
        if any(size < 1 and size != -1 for size in sizes):
            raise ValueError(f"mesh axes must be 1 or more, or -1, got {sizes}")
        if sizes.count(-1) > 1:
            raise ValueError(f"at most one mesh axis may be -1, got {sizes}")

    def make(self) -> Mesh:
        """Returns the mesh over all devices of the run.

        Raises:
          ValueError: if the axes do not multiply to the number of devices.
        """
        return make_mesh(self.data, self.fsdp, self.tensor)


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


def state_spec(path: str, rules: Rules) -> PartitionSpec:
    """As `spec_for`, for a leaf of a `TrainState`: averages and moments live as their parameter."""
    if of_parameter := OF_PARAMETERS.fullmatch(path):
        return spec_for(of_parameter[1], rules)
    return spec_for(path, STATE)


def tree_shardings(tree: Any, mesh: Mesh, rules: Rules, spec_of: SpecOf = spec_for) -> Any:
    """Returns the sharding of every leaf, by its path.

    Raises:
      KeyError: if a leaf has no rule.
    """

    def place(path: tuple[Any, ...], _: Any) -> NamedSharding:
        return NamedSharding(mesh, spec_of(leaf_path(path), rules))

    return jax.tree_util.tree_map_with_path(place, tree)


def batch_parts(mesh: Mesh) -> int:
    """Into how many parts batches are split."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def batch_sharding(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Batches are split over the data and fsdp axes, on their first axis or another one."""
    return NamedSharding(mesh, PartitionSpec(*(None,) * axis, ("data", "fsdp")))


def require_divisible(batch_size: int, mesh: Mesh) -> None:
    """Raises a ValueError unless a batch can be split over the mesh."""
    parts = batch_parts(mesh)
    if batch_size % parts:
        wanted = f"a multiple of {parts}, the mesh's data x fsdp"
        raise ValueError(f"batch_size must be {wanted}, got {batch_size}")


def place(tree: Any, mesh: Mesh, rules: Rules, spec_of: SpecOf = spec_for) -> Any:
    """Puts host arrays, which every process holds whole, onto the mesh.

    Raises:
      KeyError: if a leaf has no rule.
      ValueError: if an axis of a leaf does not divide by what it is split over.
    """

    def put(path: tuple[Any, ...], leaf: Any, sharding: NamedSharding) -> jax.Array:
        _require_even(leaf_path(path), np.shape(leaf), sharding)
        if jax.process_count() == 1:
            return jax.device_put(leaf, sharding)
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    shardings = tree_shardings(tree, mesh, rules, spec_of)
    return jax.tree_util.tree_map_with_path(put, tree, shardings)


def _require_even(path: str, shape: tuple[int, ...], sharding: NamedSharding) -> None:
    for size, axis in zip(shape, sharding.spec, strict=False):
        if axis is not None and size % sharding.mesh.shape[axis]:
            got = sharding.mesh.shape[axis]
            raise ValueError(f"mesh {axis} must divide {path} of shape {shape}, got {got}")


def fetch(tree: Any) -> Any:
    """Returns whole arrays on the host, in every process, wherever their parts are."""

    def get(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            return multihost_utils.process_allgather(leaf, tiled=True)
        return jax.device_get(leaf)

    return jax.tree.map(get, tree)


def leaf_path(path: tuple[Any, ...]) -> str:
    """A leaf's path as text: params/encoder_in/kernel."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
