"""Floating-point work, as the compiler counts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def flops_of(function: Callable[..., Any], *args: Any) -> float:
    """Compiles a function for these arguments and returns its FLOPs.

    Raises:
      RuntimeError: if the backend does not count them.
    """
    analysis = jax.jit(function).lower(*args).compile().cost_analysis()
    if analysis is None:
        raise RuntimeError(f"the backend {jax.default_backend()!r} does not count FLOPs")
    return float(analysis["flops"])
