"""Arrays at the border: what a caller gives becomes numbers, or an error that says what it was."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int64, Shaped


def as_array(values: Any, name: str) -> Shaped[np.ndarray, "..."]:
    """Returns what `np.asarray` makes of arrays of any library, or of nested lists.

    Raises:
      ValueError: if something is masked, which would be lost, or lists differ in length.
    """
    if is_masked(values):
        raise ValueError(f"{name} must hold every value, got a masked array with values masked")
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be one array, got lists of different lengths") from error


def as_floats(values: Any, name: str) -> Float32[np.ndarray, "..."]:
    """Returns finite float32.

    Raises:
      TypeError: if they are not floating point.
      ValueError: as `as_array`; also on NaN or inf, or what float32 does not reach.
    """
    found = as_array(values, name)
    if not jnp.issubdtype(found.dtype, jnp.floating):
        raise TypeError(f"{name} must be floating point, got {type_of(found)}")
    with np.errstate(over="ignore"):
        converted = found.astype(np.float32)
    require_finite_values(name, converted, found)
    return converted


def as_integers(values: Any, name: str) -> Int64[np.ndarray, "..."]:
    """Returns int64; an empty list or array of any type is one of no integers.

    Raises:
      TypeError: if they are not integers.
      ValueError: as `as_array`; also on an integer that int64 does not reach.
    """
    found = as_array(values, name)
    if not found.size:
        return found.astype(np.int64)
    if found.dtype == object and all(type(each) is int for each in found.flat):
        raise ValueError(f"{name} must be below 2**63, got {max(found.flat, key=abs)}")
    if not np.issubdtype(found.dtype, np.integer):
        raise TypeError(f"{name} must be integers, got {type_of(found)}")
    if found.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must be below 2**63, got {found.max()}")
    return found.astype(np.int64)


def require_finite_values(
    name: str, values: Float32[np.ndarray, "..."], given: Shaped[np.ndarray, "..."] | None = None
) -> None:
    """Raises a ValueError that counts what is not finite.

    Args:
      name: what the error calls them.
      values: to check.
      given: the same before they became float32.
    """
    bad = np.count_nonzero(~np.isfinite(values))
    if bad:
        large = given is not None and np.isfinite(given).all()
        when = ", beyond float32" if large else ""
        raise ValueError(
            f"{name} must be finite, got {bad} NaN or inf of {values.size} values{when}"
        )


def is_masked(values: Any) -> bool:
    """Whether a masked array, or one inside of lists, has values masked."""
    if isinstance(values, list | tuple):
        return any(is_masked(each) for each in values)
    return isinstance(values, np.ma.MaskedArray) and bool(np.ma.is_masked(values))


def type_of(values: Shaped[np.ndarray, "..."]) -> str:
    """What an array holds, for errors."""
    if values.dtype != object:
        return values.dtype.name
    kinds = sorted({type(each).__name__ for each in values.flat})
    return " and ".join(kinds) or "object"
