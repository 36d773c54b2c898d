"""A jitted step with shapes in place of its arguments, laid out on a mesh."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rfsq_jax.parallel.sharding import Rules, tree_shardings


@dataclasses.dataclass(frozen=True)
class Step:
    """What is compiled.

    Attributes:
      function: jitted.
      arguments: shapes with their shardings.
      batch: samples of one step, over all chips.
      group: chips that share the weights; the others repeat them.
      repeats: steps that one call takes.
      looked_up: bytes of the arguments on one chip of which a step reads a few rows only.
    """

    function: Any
    arguments: tuple[Any, ...]
    batch: int
    group: int = 1
    repeats: int = 1
    looked_up: int = 0


def on_mesh(tree: Any, mesh: Mesh, *axes: Any) -> Any:
    """The shapes of a tree's arrays, split over these axes of the mesh; by default repeated."""
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    return jax.tree.map(lambda leaf: _shape(leaf, sharding), tree)


def by_rules(tree: Any, mesh: Mesh, rules: Rules) -> Any:
    """The shapes of a tree's arrays, placed by their paths."""
    return jax.tree.map(_shape, tree, tree_shardings(tree, mesh, rules))


def tree_bytes(tree: Any) -> int:
    """Bytes of all arrays of a tree."""
    leaves = jax.tree.leaves(tree)
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def _shape(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
