"""A tokenizer on disk: `tokenizer.json` and `weights.npz` in one folder, no pickle.

tokenizer.json holds the format version, the kind and its config, the action space and the hash of
weights.npz. The first format knew one kind, "step", and did not name it.
"""

from __future__ import annotations

from pathlib import Path

from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.runs.weight_files import WeightFolders
from rfsq_jax.tokenizers import tokenizer_class
from rfsq_jax.tokenizers.protocol import ActionTokenizer

FOLDERS = WeightFolders("tokenizer", newest=2, bundled="tokenizers")


def save_folder(folder: Path, tokenizer: ActionTokenizer) -> None:
    """Writes the two files; on any error nothing is left under the folder's name."""
    description = {
        "format_version": FOLDERS.newest,
        "kind": tokenizer.kind,
        "config": tokenizer.config_dict(),
        **tokenizer.space.to_dict(),
    }
    with FOLDERS.writing(folder, description, tokenizer.arrays()):
        pass


def load_folder(path_or_name: str | Path) -> ActionTokenizer:
    """Reads what `save_folder` wrote, from a path, or a bundled one by name.

    Raises:
      FileNotFoundError: if there is none; it lists the bundled names.
      ValueError: if a file is damaged, does not fit the config, is of a newer format or of an
        unknown kind.
    """
    folder = FOLDERS.find(path_or_name)
    description, arrays = FOLDERS.read(folder)
    kind = tokenizer_class(description.get("kind", "step"))
    space = ActionSpace.from_dict(description)
    try:
        return kind.from_parts(space, description["config"], arrays)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
