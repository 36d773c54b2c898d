"""Trees of arrays: their leaves by path, and where two of them differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from rfsq_jax.parallel.sharding import leaf_path
from rfsq_jax.runs.checks import require

Params = dict[str, Any]
"""Parameters of a network: nested dicts of arrays."""


def flatten(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts -> one dict by path."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{prefix}{name}"
        flat |= flatten(value, f"{path}/") if isinstance(value, Mapping) else {path: value}
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`; a level of digits is a list's index."""
    tree: dict[Any, Any] = {}
    for path, value in flat.items():
        *parents, name = (int(part) if part.isdigit() else part for part in path.split("/"))
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return tree


def require_same(
    message: str, wanted: Mapping[str, Any], found: Mapping[str, Any], limit: int | None = None
) -> None:
    """Raises a ValueError that names what is missing, unknown or other than wanted.

    Args:
      message: how the error begins.
      wanted: what should be there, by name: shapes, sizes.
      found: what is there, alike.
      limit: differences that are listed, all by default; the others are counted.
    """
    problems = [
        f"{name} expected {wanted.get(name, 'nothing')}, got {found.get(name, 'nothing')}"
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name)
    ]
    if problems:
        shown = problems[:limit]
        more = f"; and {len(problems) - len(shown)} more" if len(shown) < len(problems) else ""
        raise ValueError(f"{message}: {'; '.join(shown)}{more}")


def require_finite(where: str, tree: Mapping[str, Any]) -> None:
    """Raises a ValueError that names the first array of nested dicts with NaN or inf."""
    for path, leaf in flatten(tree).items():
        bad = int(np.count_nonzero(~np.isfinite(np.asarray(leaf))))
        require(bad == 0, f"{where} {path}", "finite", f"{bad} NaN or inf")


def shapes_of(tree: Any) -> dict[str, str]:
    """The dtype and shape of every leaf as text, by path: "float32[2, 3]"."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {leaf_path(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves}
