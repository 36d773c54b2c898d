"""A tokenizer on disk: `tokenizer.json` and `weights.npz` in one folder, no pickle.

tokenizer.json holds the format version, the config, the normalisation and the hash of weights.npz.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import zipfile
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rfsq_jax import autoencoder
from rfsq_jax.autoencoder import AutoencoderConfig, Params
from rfsq_jax.data.normalization import Normalization
from rfsq_jax.rfsq import RFSQConfig, RFSQState
from rfsq_jax.runs.files import atomic_path, read_json, write_json

FORMAT_VERSION = 1
DESCRIPTION, WEIGHTS = "tokenizer.json", "weights.npz"
BUNDLED = resources.files("rfsq_jax") / "bundled"


def resolve(path_or_name: str | Path) -> Path:
    """Returns the folder of a bundled name or a path that holds a tokenizer."""
    for folder in (Path(path_or_name), Path(str(BUNDLED / str(path_or_name)))):
        if (folder / DESCRIPTION).is_file():
            return folder
    raise FileNotFoundError(
        f"no tokenizer {str(path_or_name)!r}: expected a folder with {DESCRIPTION} "
        f"or one of {bundled_names()}"
    )


def bundled_names() -> list[str]:
    """The tokenizers that come with the package."""
    root = Path(str(BUNDLED))
    return sorted(path.parent.name for path in root.glob(f"*/{DESCRIPTION}"))


def save_folder(
    folder: Path,
    config: AutoencoderConfig,
    params: Params,
    state: RFSQState,
    normalization: Normalization,
    horizon: int,
) -> None:
    """Writes the two files; on any error nothing is left under the folder's name."""
    tree = jax.tree.map(np.asarray, {"params": params, "quantizer": state._asdict()})
    buffer = io.BytesIO()
    np.savez(buffer, **_flatten(tree))
    description = {
        "format_version": FORMAT_VERSION,
        "config": dataclasses.asdict(config),
        "horizon": horizon,
        "normalization": normalization.to_dict(),
        "weights_sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
    }
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        (temporary / WEIGHTS).write_bytes(buffer.getvalue())
        write_json(temporary / DESCRIPTION, description)


def load_folder(folder: Path) -> dict[str, Any]:
    """Reads what `save_folder` wrote, as keyword arguments for `ActionTokenizer.from_parts`.

    Raises:
      ValueError: if a file is damaged, does not fit the config, or is of a newer format.
    """
    description = read_json(folder / DESCRIPTION)
    _check_version(folder, description)
    options = dict(description["config"])
    config = AutoencoderConfig(rfsq=RFSQConfig(**options.pop("rfsq")), **options)
    tree = _unflatten(_read_weights(folder, description["weights_sha256"]))
    _check_shapes(folder, config, tree)
    return {
        "config": config,
        "params": tree["params"],
        "state": RFSQState(**tree["quantizer"]),
        "normalization": Normalization.from_dict(description["normalization"]),
        "horizon": description["horizon"],
    }


def _check_version(folder: Path, description: dict[str, Any]) -> None:
    version = description.get("format_version")
    if not isinstance(version, int):
        raise ValueError(f"{folder / DESCRIPTION} has no format_version: not a tokenizer")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{folder} has format version {version}, this rfsq_jax reads up to {FORMAT_VERSION}: "
            "update rfsq_jax"
        )


def _read_weights(folder: Path, expected: str) -> dict[str, np.ndarray]:
    path = folder / WEIGHTS
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise ValueError(f"{path} is damaged: its sha256 is not the one in {DESCRIPTION}")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)
    except (zipfile.BadZipFile, ValueError) as error:
        raise ValueError(f"{path} is not an npz file of plain arrays: {error}") from error


def _check_shapes(folder: Path, config: AutoencoderConfig, tree: dict[str, Any]) -> None:
    params, state = jax.eval_shape(lambda: autoencoder.init(config, jax.random.key(0)))
    wanted = {
        k: v.shape for k, v in _flatten({"params": params, "quantizer": state._asdict()}).items()
    }
    found = {k: v.shape for k, v in _flatten(tree).items()}
    if wanted != found:
        differing = sorted(k for k in wanted | found if wanted.get(k) != found.get(k))
        raise ValueError(
            f"{folder / WEIGHTS} does not fit its config: {differing[0]} expected shape "
            f"{wanted.get(differing[0])}, got {found.get(differing[0])}"
        )


def _shapes(tree: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {path: leaf.shape for path, leaf in _flatten(tree).items()}


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= (
            _flatten(value, f"{prefix}{name}/")
            if isinstance(value, dict)
            else {prefix + name: value}
        )
    return flat


def _unflatten(flat: dict[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = jnp.asarray(value)
    return tree
