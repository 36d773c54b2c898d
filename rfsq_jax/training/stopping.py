"""SIGTERM in mid-training: all processes stop after the same step, so that they can save it.

Schedulers send it some seconds before they take a machine away, often to one process alone.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from rfsq_jax.parallel.sharding import AXES


class StopSign:
    """Whether some process was asked to stop; `ask_all` gives all the same answer.

    Args:
      mesh: over the devices of all processes.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.is_asked = threading.Event()
        self._split = NamedSharding(mesh, PartitionSpec(AXES))
        self._count = mesh.size
        self._any = jax.jit(jnp.any, out_shardings=NamedSharding(mesh, PartitionSpec()))

    def ask_all(self) -> Array:
        """Starts to find out; every process does so after the same steps."""
        mine = np.full(self._count, self.is_asked.is_set())
        flags = jax.make_array_from_callback((self._count,), self._split, lambda index: mine[index])
        return self._any(flags)


@contextlib.contextmanager
def sigterm_asks(sign: StopSign) -> Iterator[None]:
    """SIGTERM sets the sign instead of ending the process; a second one does what it did before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)

    def ask(*_: object) -> None:
        sign.is_asked.set()
        signal.signal(signal.SIGTERM, before)

    signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
