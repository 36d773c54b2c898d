"""Values checked against the types that a dataclass declares: of a file, or of a constructor."""

from __future__ import annotations

import dataclasses
import functools
import json
import typing
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

Record = TypeVar("Record")

SHOWN = 3
"""Problems of one record that an error lists; the others are counted."""


def parse_record(kind: type[Record], value: Any, where: str) -> Record:
    """Returns what JSON describes as the dataclass `kind`; nested ones and tuples included.

    Args:
      kind: a dataclass whose fields are numbers, strings, tuples, dicts or such dataclasses.
      value: parsed JSON.
      where: the file, for errors.

    Raises:
      ValueError: if a key is missing, unknown or of another type, or a dataclass refuses its
        values; it names file, key, what was expected and what was got.
    """
    try:
        return _adapter(kind).validate_json(json.dumps(value), strict=True, extra="forbid")
    except ValidationError as error:
        raise ValueError(f"{where}: {_problems(error)}") from error


def require_types(config: Any) -> None:
    """Raises unless every field of a dataclass holds what its annotation says, numbers finite.

    For `__post_init__`: True is no int, 1.5 no int and "3" no number.

    Raises:
      ValueError: for the first field that does not; it is named.
    """
    for name, adapter in _field_adapters(type(config)).items():
        try:
            adapter.validate_python(getattr(config, name), strict=True)
        except ValidationError as error:
            raise ValueError(f"{name} {_problems(error)}") from error


@functools.cache
def _adapter(kind: type[Any]) -> TypeAdapter:
    return TypeAdapter(kind)


@functools.cache
def _field_adapters(kind: type[Any]) -> dict[str, TypeAdapter]:
    hints = typing.get_type_hints(kind)
    return {field.name: _field_adapter(hints[field.name]) for field in dataclasses.fields(kind)}


def _field_adapter(hint: Any) -> TypeAdapter:
    # Pydantic refuses settings for dataclasses, which check themselves.
    own = dataclasses.is_dataclass(hint)
    settings = None if own else ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=True)
    return TypeAdapter(hint, config=settings)


def _problems(error: ValidationError) -> str:
    found = [_problem(each) for each in error.errors(include_url=False)]
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(found[:SHOWN]) + more


def _problem(problem: Any) -> str:
    name = ".".join(map(str, problem["loc"]))
    start = f"{name} " if name else ""
    match problem["type"]:
        case "missing" | "missing_argument":
            return f"{start}is missing"
        case "unexpected_keyword_argument" | "extra_forbidden":
            return f"{start}is unknown"
        case "value_error":
            reason = problem["msg"].removeprefix("Value error, ")
            return f"{name}: {reason}" if name else reason
    expected = problem["msg"].replace("Input should be", "must be")
    return f"{start}{expected}, got {problem['input']!r:.80}"
