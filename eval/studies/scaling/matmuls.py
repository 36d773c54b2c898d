"""What a traced function must multiply, loops counted out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jax


def matmul_flops(function: Any, *arguments: Any) -> float:
    """Floating-point operations of all matrix products, two for a multiplication and addition."""
    return _flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def _flops(jaxpr: Any) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            total += _product(equation)
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        total += times * sum(_flops(inner) for inner in _inner(equation.params))
    return total


def _product(equation: Any) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    summed = math.prod(left[axis] for axis in contracted)
    return 2.0 * summed * math.prod(equation.outvars[0].aval.shape)


def _inner(parameters: dict[str, Any]) -> Iterator[Any]:
    """The functions that an operation calls; of a choice all, which is an upper bound."""
    for value in parameters.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(each, "jaxpr", each)
            if hasattr(inner, "eqns"):
                yield inner
