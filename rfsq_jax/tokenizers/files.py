"""A tokenizer on disk: `tokenizer.json` and `weights.npz` in one folder, no pickle.

tokenizer.json holds the format version, the config, the normalisation and the hash of weights.npz.
"""

from __future__ import annotations

import dataclasses
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from rfsq_jax.data.normalization import Normalization
from rfsq_jax.rfsq import RFSQConfig, RFSQState
from rfsq_jax.runs.files import primary_path, read_json, write_json
from rfsq_jax.runs.weight_files import (
    WEIGHTS,
    check_shapes,
    check_version,
    read_weights,
    write_weights,
)
from rfsq_jax.tokenizers import autoencoder
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig, Params

FORMAT_VERSION = 1
DESCRIPTION = "tokenizer.json"
BUNDLED = resources.files("rfsq_jax") / "bundled" / "tokenizers"


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
    tree = {"params": params, "quantizer": state._asdict()}
    with primary_path(folder) as temporary:
        temporary.mkdir()
        description = {
            "format_version": FORMAT_VERSION,
            "config": dataclasses.asdict(config),
            "horizon": horizon,
            "normalization": normalization.to_dict(),
            "weights_sha256": write_weights(temporary, tree),
        }
        write_json(temporary / DESCRIPTION, description)


def load_folder(folder: Path) -> dict[str, Any]:
    """Reads what `save_folder` wrote, as keyword arguments for `ActionTokenizer.from_parts`.

    Raises:
      ValueError: if a file is damaged, does not fit the config, or is of a newer format.
    """
    description = read_json(folder / DESCRIPTION)
    check_version(folder / DESCRIPTION, description, FORMAT_VERSION, "tokenizer")
    options = dict(description["config"])
    config = AutoencoderConfig(rfsq=RFSQConfig(**options.pop("rfsq")), **options)
    tree = jax.tree.map(jnp.asarray, read_weights(folder, description["weights_sha256"]))
    params, state = jax.eval_shape(lambda: autoencoder.init(config, jax.random.key(0)))
    check_shapes(folder / WEIGHTS, {"params": params, "quantizer": state._asdict()}, tree)
    return {
        "config": config,
        "params": tree["params"],
        "state": RFSQState(**tree["quantizer"]),
        "normalization": Normalization.from_dict(description["normalization"]),
        "horizon": description["horizon"],
    }
