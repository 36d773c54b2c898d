"""Folders of weights: a description, and a tree of arrays as one npz file; no pickle.

The description is JSON with a hash over all of it, and the hash of the arrays in it. The leaves are
named by their path, levels apart by "/"; a level of digits is a list's index.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from rfsq_jax.runs import swap
from rfsq_jax.runs.arrays import read_npz
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.descriptions import VERSION, read_versioned, write_sealed
from rfsq_jax.runs.files import primary_folder, read_bounded
from rfsq_jax.runs.trees import flatten, require_same, unflatten

T = TypeVar("T")

WEIGHTS = "weights.npz"
HASH = "weights_sha256"
MAX_WEIGHTS = 1 << 34
"""Bytes; heads and tokenizers are thousands of times smaller."""


@dataclasses.dataclass(frozen=True)
class WeightFolders:
    """Folders of one kind: a description in JSON, and a tree of arrays in weights.npz beside it.

    Attributes:
      what: "policy", "tokenizer": names the description and stands in messages.
      newest: the format version that is written; older ones are read.
      sealed_since: the first format version whose description has a hash.
      bundled: the package's folder of those that come with it.
      further: names of what else may lie in such a folder.
    """

    what: str
    newest: int
    sealed_since: int
    bundled: str
    further: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """The description's file name."""
        return f"{self.what}.json"

    def find(self, path_or_name: str | Path) -> Path:
        """Returns the folder of a path, or of a bundled name.

        Raises:
          FileNotFoundError: if there is none; it lists the bundled names.
        """
        bundled = Path(str(resources.files("rfsq_jax") / "bundled" / self.bundled))
        names = sorted(path.parent.name for path in bundled.glob(f"*/{self.description}"))
        if (Path(path_or_name) / self.description).is_file():
            return Path(path_or_name)
        if str(path_or_name) in names:
            return bundled / str(path_or_name)
        raise FileNotFoundError(
            f"no {self.what} {str(path_or_name)!r}: expected a folder with {self.description} "
            f"or one of {names}"
        )

    @contextlib.contextmanager
    def writing(
        self, folder: Path, description: dict[str, Any], arrays: dict[str, Any]
    ) -> Iterator[Path]:
        """Yields a folder for further files, writes the rest, and puts it all in place at once.

        Raises:
          ValueError: if there is something else than a folder of this kind.
          OSError: if the file system refuses; what was there is untouched.
        """
        own = (self.description, WEIGHTS, *self.further)
        if folder.is_dir() and not (folder / self.description).is_file():
            own = ()
        with primary_folder(folder, own) as temporary:
            yield temporary
            content = _npz(arrays)
            (temporary / WEIGHTS).write_bytes(content)
            hashed = {HASH: hashlib.sha256(content).hexdigest()}
            written = {VERSION: self.newest, **description, **hashed}
            write_sealed(temporary / self.description, written)

    def load(self, path_or_name: str | Path, parse: Callable[[Path], T]) -> T:
        """Returns what `parse` makes of a folder, by path or bundled name.

        Raises:
          FileNotFoundError: if there is none; it lists the bundled names.
          ValueError: what `parse` raises.
        """
        return swap.read_whole(self.find(path_or_name), parse)

    def read(self, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns the description without its hashes, and the tree as JAX arrays.

        Raises:
          ValueError: if a file is missing or damaged, one is not what the other says, or the format
            is newer than this rfsq_jax.
        """
        path = folder / self.description
        description = read_versioned(
            path, self.what, newest=self.newest, sealed_since=self.sealed_since
        )
        sha256 = description.pop(HASH, None)
        if not isinstance(sha256, str):
            raise ValueError(f"{path}: {HASH} must be a string, got {sha256!r}")
        arrays = _read_weights(folder / WEIGHTS, sha256)
        return description, jax.tree.map(jnp.asarray, arrays)


def check_shapes(path: Path | str, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    """Raises a ValueError that names the leaves whose shapes differ between two trees."""
    expected, got = (
        {path: f"shape {leaf.shape}" for path, leaf in flatten(tree).items()}
        for tree in (wanted, found)
    )
    require_same(f"{path} does not fit its config", expected, got)


def check_frozen(where: str, leaves: dict[str, Any], weights: Sequence[str]) -> None:
    """Raises a ValueError unless the named weights are int8, as networks in integers keep them.

    All other leaves must be float32.
    """
    for name, leaf in leaves.items():
        kind = jnp.dtype(jnp.int8 if name in weights else jnp.float32)
        require(leaf.dtype == kind, f"{where}{name}", str(kind), str(leaf.dtype))


def _npz(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    flat: dict[str, Any] = {path: np.asarray(leaf) for path, leaf in flatten(arrays).items()}
    np.savez(buffer, **flat)
    return buffer.getvalue()


def _read_weights(path: Path, sha256: str) -> dict[str, Any]:
    try:
        content = read_bounded(path, MAX_WEIGHTS)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path} is damaged: its sha256 is not the one that was written down")
    return unflatten(read_npz(path, content))
