"""A fingerprint of all that a loader returned: equal for equal content only."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np


def fingerprint(content: Any) -> str:
    """A sha256 over nested dataclasses, mappings, sequences, arrays, text and numbers.

    Raises:
      TypeError: for anything else, whose content it would miss.
    """
    digest = hashlib.sha256()
    for part in _parts(content):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        yield f"array {array.dtype.str} {array.dtype.name} {array.shape}".encode()
        yield np.ascontiguousarray(array).tobytes()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield type(value).__name__.encode()
        for field in dataclasses.fields(value):
            yield field.name.encode()
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}".encode()
        for key in sorted(value, key=repr):
            yield repr(key).encode()
            yield from _parts(value[key])
    elif isinstance(value, list | tuple):
        yield f"sequence {len(value)}".encode()
        for each in value:
            yield from _parts(each)
    elif value is None or isinstance(value, bool | int | float | str | bytes):
        yield _plain(value)
    else:
        raise TypeError(f"cannot take the fingerprint of a {type(value).__name__}")


def _plain(value: Any) -> bytes:
    # The repr of a huge whole number is forbidden by Python, and takes long.
    text = hex(value) if type(value) is int else repr(value)
    return f"{type(value).__name__} {text}".encode()
