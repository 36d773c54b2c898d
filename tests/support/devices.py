"""Fewer devices than conftest.py makes."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import pytest


@contextmanager
def on_one_device() -> Iterator[None]:
    """For what sharding is no part of: for eight devices all compiles longer and runs slower."""
    first = jax.devices()[:1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "devices", lambda *_: first)
        yield
