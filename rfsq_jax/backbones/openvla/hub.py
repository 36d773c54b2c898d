"""A checkpoint's folder, or its name on the Hugging Face hub, downloaded once into its cache."""

from __future__ import annotations

import re
from pathlib import Path

ID = re.compile(r"[\w.-]+/[\w.-]+")
# What is read; the model's own code and LoRA adapters in folders are not.
WANTED = ("*.json", "*.safetensors", "*.pt")
UNWANTED = ("*/*",)


def resolve_checkpoint(path_or_id: str | Path) -> Path:
    """Returns a folder on this machine.

    Args:
      path_or_id: a folder, or "owner/name" on the hub where there is no such folder.

    Raises:
      ValueError: if it is neither, or the hub cannot be asked.
    """
    folder = Path(path_or_id)
    if folder.is_dir():
        return folder
    name = str(path_or_id)
    # A misspelt folder is not looked for on the net.
    if not ID.fullmatch(name) or folder.parent.is_dir():
        raise ValueError(f"{name!r} is no folder, and no owner/name on the Hugging Face hub")
    return _download(name)


def _download(name: str) -> Path:
    try:
        import huggingface_hub
        from huggingface_hub.errors import (
            HTTPError,  # pyright: ignore[reportPrivateImportUsage] its HTTP library changes
        )
    except ImportError as error:
        raise ValueError(
            f"{name!r} is no folder; downloading it from the Hugging Face hub needs "
            "huggingface_hub: pip install 'rfsq-jax[openvla]'"
        ) from error
    try:
        folder = huggingface_hub.snapshot_download(
            name, allow_patterns=list(WANTED), ignore_patterns=list(UNWANTED)
        )
    except (OSError, ValueError, HTTPError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{name!r} is no folder, and the Hugging Face hub does not give it "
            f"({type(error).__name__}: {reason})"
        ) from error
    return Path(folder)
