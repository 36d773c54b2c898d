"""A tokenizer on disk: `tokenizer.json` and `weights.npz` in one folder, no pickle.

tokenizer.json holds the format version, the kind and its config, the action space and the hash of
weights.npz. The first format knew one kind, "step", and did not name it.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import jax

from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.runs.files import primary_path, read_json, write_json
from rfsq_jax.runs.weight_files import (
    check_version,
    find_folder,
    read_weights,
    write_weights,
)
from rfsq_jax.tokenizers.protocol import ActionTokenizer
from rfsq_jax.tokenizers.registry import tokenizer_class

FORMAT_VERSION = 2
DESCRIPTION = "tokenizer.json"
BUNDLED = Path(str(resources.files("rfsq_jax") / "bundled" / "tokenizers"))


def resolve(path_or_name: str | Path) -> Path:
    """Returns the folder of a bundled name or a path that holds a tokenizer.

    Raises:
      FileNotFoundError: if there is none; it lists the bundled names.
    """
    return find_folder(path_or_name, BUNDLED, DESCRIPTION, "tokenizer")


def save_folder(folder: Path, tokenizer: ActionTokenizer) -> None:
    """Writes the two files; on any error nothing is left under the folder's name."""
    with primary_path(folder) as temporary:
        temporary.mkdir()
        description = {
            "format_version": FORMAT_VERSION,
            "kind": tokenizer.kind,
            "config": tokenizer.config_dict(),
            **tokenizer.space.to_dict(),
            "weights_sha256": write_weights(temporary, tokenizer.arrays()),
        }
        write_json(temporary / DESCRIPTION, description)


def load_folder(folder: Path) -> ActionTokenizer:
    """Reads what `save_folder` wrote.

    Raises:
      ValueError: if a file is damaged, does not fit the config, is of a newer format or of an
        unknown kind.
    """
    description = read_json(folder / DESCRIPTION)
    check_version(folder / DESCRIPTION, description, FORMAT_VERSION, "tokenizer")
    arrays = jax.tree.map(jax.numpy.asarray, read_weights(folder, description["weights_sha256"]))
    kind = tokenizer_class(description.get("kind", "step"))
    space = ActionSpace.from_dict(description)
    try:
        return kind.from_parts(space, description["config"], arrays)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
