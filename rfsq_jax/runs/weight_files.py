"""Folders of weights: a description, and a tree of arrays as one npz file; no pickle.

The leaves are named by their path, levels apart by "/"; a level of digits is a list's index.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import zipfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rfsq_jax.runs.files import primary_path, read_json, write_json
from rfsq_jax.runs.trees import flatten, require_same, unflatten

WEIGHTS = "weights.npz"


@dataclasses.dataclass(frozen=True)
class WeightFolders:
    """Folders of one kind: a description in JSON, and a tree of arrays in weights.npz beside it.

    The description holds its format version and the hash of weights.npz.

    Attributes:
      what: "policy", "tokenizer": names the description and stands in messages.
      newest: the format version that is written; older ones are read.
      bundled: the package's folder of those that come with it.
    """

    what: str
    newest: int
    bundled: str

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
        for folder in (Path(path_or_name), bundled / str(path_or_name)):
            if (folder / self.description).is_file():
                return folder
        names = sorted(path.parent.name for path in bundled.glob(f"*/{self.description}"))
        raise FileNotFoundError(
            f"no {self.what} {str(path_or_name)!r}: expected a folder with {self.description} "
            f"or one of {names}"
        )

    @contextlib.contextmanager
    def writing(
        self, folder: Path, description: dict[str, Any], arrays: dict[str, Any]
    ) -> Iterator[Path]:
        """Writes a folder and yields it for further files; on any error nothing is left of it."""
        buffer = io.BytesIO()
        flat: dict[str, Any] = {path: np.asarray(leaf) for path, leaf in flatten(arrays).items()}
        np.savez(buffer, **flat)
        content = buffer.getvalue()
        with primary_path(folder) as temporary:
            temporary.mkdir()
            (temporary / WEIGHTS).write_bytes(content)
            written = {**description, "weights_sha256": hashlib.sha256(content).hexdigest()}
            write_json(temporary / self.description, written)
            yield temporary

    def read(self, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns the description, and the tree as JAX arrays.

        Raises:
          ValueError: if a file is missing or damaged, the weights are not those of the description,
            or the format is newer than this rfsq_jax.
        """
        description = read_json(folder / self.description)
        check_version(folder / self.description, description, self.newest, self.what)
        arrays = _read_weights(folder / WEIGHTS, description["weights_sha256"])
        return description, jax.tree.map(jnp.asarray, arrays)


def check_version(path: Path, description: dict[str, Any], newest: int, what: str) -> None:
    """Raises a ValueError unless this rfsq_jax reads the format of a description."""
    version = description.get("format_version")
    if not isinstance(version, int):
        raise ValueError(f"{path} has no format_version: not a {what}")
    if version > newest:
        raise ValueError(
            f"{path.parent} has format version {version}, this rfsq_jax reads up to {newest}: "
            "update rfsq_jax"
        )


def check_shapes(path: Path | str, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    """Raises a ValueError that names the leaves whose shapes differ between two trees."""
    expected, got = (
        {path: f"shape {leaf.shape}" for path, leaf in flatten(tree).items()}
        for tree in (wanted, found)
    )
    require_same(f"{path} does not fit its config", expected, got)


def _read_weights(path: Path, sha256: str) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path} is damaged: its sha256 is not the one that was written down")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return unflatten(dict(arrays))
    except (zipfile.BadZipFile, ValueError) as error:
        raise ValueError(f"{path} is not an npz file of plain arrays: {error}") from error
