"""Checks that configs share: a bad value is named with what was expected and what was got."""

from __future__ import annotations

from typing import Any


def require(condition: bool, field: str, expected: str, got: Any) -> None:
    """Raises a ValueError that names the field, what was expected and what was got."""
    if not condition:
        raise ValueError(f"{field} must be {expected}, got {got!r}")


def require_positive(config: Any, *fields: str) -> None:
    """Raises a ValueError for the first of the config's fields that is below 1."""
    for field in fields:
        value = getattr(config, field)
        require(value >= 1, field, "at least 1", value)
