"""A tokenizer on disk: `tokenizer.json` and `weights.npz` in one folder, no pickle.

tokenizer.json holds the format version, the kind and its config, the action space, the hash of
weights.npz and one over all of that. The first format knew one kind, "step", and did not name it;
the first two had no hash over the description.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.runs.records import parse_record
from rfsq_jax.runs.weight_files import WeightFolders
from rfsq_jax.tokenizers import tokenizer_class
from rfsq_jax.tokenizers.protocol import ActionTokenizer

FOLDERS = WeightFolders("tokenizer", newest=3, sealed_since=3, bundled="tokenizers")


@dataclasses.dataclass(frozen=True)
class TokenizerFile:
    """tokenizer.json without its hashes; kind and space check what is theirs.

    Attributes:
      format_version: of the file.
      config: of the kind.
      horizon: steps of a chunk.
      normalization: of the actions.
      kind: see `tokenizers.KINDS`.
      action_spec: meaning of the dims; None in the first format.
      range: least and greatest actions that were fitted to; None in older formats.
    """

    format_version: int
    config: dict[str, Any]
    horizon: int
    normalization: dict[str, Any]
    kind: str = "step"
    action_spec: dict[str, Any] | None = None
    range: dict[str, Any] | None = None


def save_folder(folder: Path, tokenizer: ActionTokenizer) -> None:
    """Writes the two files; whatever happens, the folder holds the old ones or the new ones.

    Raises:
      ValueError: if the folder holds something else than a tokenizer.
      OSError: if the file system refuses.
    """
    description = {
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
      ValueError: if a file is damaged, does not fit the other, is of a newer format or of an
        unknown kind.
    """
    return FOLDERS.load(path_or_name, _read)


def _read(folder: Path) -> ActionTokenizer:
    description, arrays = FOLDERS.read(folder)
    path = folder / FOLDERS.description
    stored = parse_record(TokenizerFile, description, str(path))
    try:
        space = ActionSpace.from_dict(description)
        return tokenizer_class(stored.kind).from_parts(space, stored.config, arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
