"""The processes of one run, on one host or on many: who writes, and how they wait."""

from __future__ import annotations

import os
import secrets
import socket

import jax
from jax.experimental import multihost_utils


def is_primary() -> bool:
    """Whether this process writes what the run makes: the first one of all hosts."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Waits until every process of the run has come to the barrier of that name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def unique_tag() -> str:
    """Returns a part of a file name that no other host, process or thread gives itself."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
