"""Memory that tests give back."""

from __future__ import annotations

import collections
import ctypes
import gc
import sys

import jax

MANY_PROGRAMS = 400

compiled: collections.Counter[str] = collections.Counter()


@jax.monitoring.register_event_duration_secs_listener
def count_programs(event: str, duration_secs: float, **_: object) -> None:
    compiled["programs"] += event == "/jax/core/compile/backend_compile_duration"


def give_back() -> None:
    """Forgets compiled programs, as the end of a process would."""
    compiled.clear()
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def give_back_much() -> None:
    """Does so where programs have become very many."""
    if compiled["programs"] > MANY_PROGRAMS:
        give_back()
