"""Floating-point operations of the matrix products of a traced function, loops counted out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn


def matmul_flops(jaxpr: Jaxpr | ClosedJaxpr) -> int:
    """Two operations per multiplication and addition, over all devices; nothing else counts.

    Raises:
      ValueError: for a product in a loop whose bound is not known, or in a convolution.
    """
    inner = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
    return sum(_equation(equation) for equation in inner.eqns)


def _equation(equation: JaxprEqn) -> int:
    name = equation.primitive.name
    if name == "dot_general":
        return _product(equation)
    if name == "conv_general_dilated":
        raise ValueError(f"a convolution's operations are not counted: {equation}")
    parts = [matmul_flops(each) for each in _inside(equation.params)]
    if name == "scan":
        return equation.params["length"] * sum(parts)
    if name == "while" and any(parts):
        raise ValueError("a loop with matrix products must have a known length, got a while loop")
    return max(parts, default=0) if name == "cond" else sum(parts)


def _product(equation: JaxprEqn) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    factor, result = (_shape(each[0]) for each in (equation.invars, equation.outvars))
    return 2 * math.prod(result) * math.prod(factor[axis] for axis in contracted)


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _inside(params: dict[str, Any]) -> Iterator[Jaxpr | ClosedJaxpr]:
    for value in params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, Jaxpr | ClosedJaxpr):
                yield each
