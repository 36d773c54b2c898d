"""Options of a backbone, as command lines and files hold them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

BackboneOption = bool | int | str


def with_path(options: Mapping[str, BackboneOption], checkpoint: Path | None) -> dict[str, Any]:
    """What `get_backbone` takes: the options, and where the weights are if that is given."""
    return {**options, **({} if checkpoint is None else {"path": checkpoint})}
