"""A config in a form that does not change when later versions add options to it."""

from __future__ import annotations

import dataclasses
from typing import Any

_ADDED = "added"


def added(default: Any) -> Any:
    """A dataclass field that the first release did not have; its default does what was done before.

    `canonical` leaves it out while it has its default, so hashes of older configs stay valid.
    """
    return dataclasses.field(default=default, metadata={_ADDED: True})


def canonical(config: Any) -> dict[str, Any]:
    """A dataclass as nested dicts, for hashes: all fields but `added` ones at their default."""
    return {
        field.name: canonical(value) if dataclasses.is_dataclass(value) else value
        for field in dataclasses.fields(config)
        for value in [getattr(config, field.name)]
        if not (field.metadata.get(_ADDED) and value == field.default)
    }
