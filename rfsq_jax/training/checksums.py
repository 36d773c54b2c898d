"""Checksums of arrays, the same wherever their parts are.

Each element is mixed with its place and all are added modulo 2**32, so parts add up to the whole in
any order, over any devices and hosts.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Shaped, UInt32

from rfsq_jax.parallel.sharding import leaf_path

# Odd constants of Murmur's and of golden-ratio hashing.
OF_PLACE, OF_VALUE = np.uint32(0x9E3779B1), np.uint32(0x85EBCA6B)


def checksums(tree: Any) -> dict[str, int]:
    """One number for each leaf, by its path; every process calls it, and gets the same."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    mine = np.array([_of_parts(leaf) for _, leaf in leaves], np.uint32)
    everyone = np.asarray(multihost_utils.process_allgather(mine)).reshape(-1, len(leaves))
    totals: list[int] = np.add.reduce(everyone, axis=0, dtype=np.uint32).tolist()
    return {leaf_path(path): total for (path, _), total in zip(leaves, totals, strict=True)}


def _of_parts(leaf: jax.Array) -> np.uint32:
    """The sum over what this process holds; of what several devices hold, one counts."""
    parts = (part for part in leaf.addressable_shards if part.replica_id == 0)
    sums = [_of_part(np.asarray(part.data), part.index, leaf.shape) for part in parts]
    return np.sum(np.array(sums, np.uint32), dtype=np.uint32)


def _of_part(
    values: Shaped[np.ndarray, "*n"], index: tuple[slice, ...], shape: tuple[int, ...]
) -> np.uint32:
    words = np.ascontiguousarray(values).reshape(-1).view(f"u{min(values.itemsize, 4)}")
    places = _places(index, shape)
    if len(words) > len(places):
        # Eight bytes are two words.
        places = (2 * places[:, None] + np.arange(2, dtype=np.uint32)).reshape(-1)
    mixed = (words.astype(np.uint32) ^ (places * OF_PLACE)) * OF_VALUE
    return np.sum(mixed ^ (mixed >> np.uint32(16)), dtype=np.uint32)


def _places(index: tuple[slice, ...], shape: tuple[int, ...]) -> UInt32[np.ndarray, " n"]:
    """Where in the whole array, flat, each element of a part is."""
    places = np.zeros((), np.uint32)
    for part, size in zip(index, shape, strict=True):
        along = np.arange(size, dtype=np.uint32)[part]
        places = places[..., None] * np.uint32(size) + along
    return places.reshape(-1)
