"""One sample over many chips: where activations live on a mesh with a sequence axis.

Tokens are split over that axis and weights are not, so that the tensor axis is shorter and less is
sent over it. Between attention and MLP the tokens are split over the tensor axis as well: norms and
residual sums are then computed once instead of on every chip. On meshes without the axis, and
without a mesh in use (`jax.set_mesh`), nothing here does anything.

Axes: B batch · N images · S sequence · M keys · H heads · D head dim · E width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from rfsq_jax.runs.checks import require

SEQUENCE = "sequence"
AXES = ("data", "fsdp", SEQUENCE, "tensor")
BLOCK = 128
"""Tokens are padded to a multiple: tiles of the matrix units are then full on every chip."""


def make_spread_mesh(sequence: int, devices: Sequence[Any]) -> Mesh:
    """Returns a mesh on which one sample's tokens are split over `sequence` groups of chips.

    Raises:
      ValueError: if the devices do not make as many groups.
    """
    count = len(devices)
    whole = sequence > 0 and count % sequence == 0
    require(whole, "sequence", f"a divisor of the {count} devices", sequence)
    return Mesh(np.asarray(devices).reshape(1, 1, sequence, -1), AXES)


def is_spread() -> bool:
    """Whether the mesh in use has a sequence axis."""
    return SEQUENCE in jax.sharding.get_abstract_mesh().axis_names


def padded(x: Float[Array, "b s e"]) -> Float[Array, "b s2 e"]:
    """Tokens with zeros after them, as many as it takes to split them evenly."""
    return jnp.pad(x, ((0, 0), (0, -x.shape[1] % BLOCK), (0, 0))) if is_spread() else x


def between(x: Float[Array, "b s e"]) -> Float[Array, "b s e"]:
    """Tokens between the parts of a layer: each chip has a few whole ones."""
    return _split(x, "data", (SEQUENCE, "tensor"), None)


def gathered(x: Float[Array, "b s e"]) -> Float[Array, "b s e"]:
    """What goes into maps whose columns are split over the tensor axis."""
    return _split(x, "data", SEQUENCE, None)


def keys(x: Float[Array, "b m h d"]) -> Float[Array, "b m h d"]:
    """Keys or values, of all tokens: every query attends to them."""
    return _split(x, "data", None, "tensor", None)


def images(x: Float[Array, "n s e"]) -> Float[Array, "n s e"]:
    """Images, which are as good as batches."""
    return _split(x, ("data", SEQUENCE), None, None)


def _split(x: Array, *axes: Any) -> Array:
    """The same, split over these axes of the mesh in use; as it was where that is not even."""
    if not is_spread():
        return x
    sizes = jax.sharding.get_abstract_mesh().shape
    named = [(axis,) if isinstance(axis, str) else axis or () for axis in axes]
    left = [
        size % math.prod(sizes[axis] for axis in each)
        for size, each in zip(x.shape, named, strict=True)
    ]
    return x if any(left) else jax.lax.with_sharding_constraint(x, PartitionSpec(*axes))
