"""Options of a backbone, as command lines and files hold them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

BackboneOption = bool | int | str

OF_PICTURES = ("jpeg",)
"""Options that tell where the pictures at hand come from, not what the backbone makes of them."""


def with_path(options: Mapping[str, BackboneOption], checkpoint: Path | None) -> dict[str, Any]:
    """What `get_backbone` takes: the options, and where the weights are if that is given."""
    return {**options, **({} if checkpoint is None else {"path": checkpoint})}


def lasting(options: Mapping[str, BackboneOption]) -> dict[str, BackboneOption]:
    """What a policy keeps of its training's options: it will be shown other pictures."""
    return {name: value for name, value in options.items() if name not in OF_PICTURES}
