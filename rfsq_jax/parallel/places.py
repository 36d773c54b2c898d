"""Where worker processes are: on this machine, or (`ray_cluster`) on those of a Ray cluster.

A place starts processes and gives the parent's end of a connection to each; what they show again
and again goes through a `Frame`, which on one machine is memory that both share.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

# A forked child would share the parent's threads, accelerator and OpenGL.
CONTEXT = multiprocessing.get_context("spawn")


@dataclasses.dataclass(frozen=True)
class Failed:
    """The process broke off by itself.

    Attributes:
      reason: the traceback, or how the process crashed.
      error: what was raised; None where the process crashed.
    """

    reason: str
    error: Exception | None = None


@runtime_checkable
class Process(Protocol):
    """What a worker's parent needs of its process.

    Attributes:
      exitcode: once it ended; minus the signal that ended it.
    """

    @property
    def exitcode(self) -> int | None: ...  # noqa: D102

    def join(self, timeout: float | None = None) -> None:
        """Waits for its end."""
        ...

    def kill(self) -> None:
        """Ends it."""
        ...


@runtime_checkable
class Frame(Protocol):
    """Bytes that a worker shows its parent again and again; sent to the worker at its start."""

    def put(self, values: Shaped[np.ndarray, "..."]) -> Any:
        """Shows uint8 values, in the worker; returns what has to go with the message."""
        ...

    def get(self, sent: Any) -> Shaped[np.ndarray, " n"]:
        """What was shown last, in the parent, from what came with the message."""
        ...


@runtime_checkable
class Place(Protocol):
    """Where workers run."""

    def start(
        self, main: Callable[..., None], arguments: tuple[Any, ...]
    ) -> tuple[Connection, Process]:
        """Starts a process that calls `main(connection, *arguments)`; returns the other end."""
        ...

    def frame(self, size: int) -> Frame:
        """Room for so many bytes."""
        ...


class SharedFrame:
    """Memory that a parent and a worker on its machine share."""

    def __init__(self, size: int) -> None:
        self._memory = CONTEXT.RawArray("B", size)

    def put(self, values: Shaped[np.ndarray, "..."]) -> None:
        """Shows values."""
        np.frombuffer(self._memory, np.uint8)[:] = values.reshape(-1)

    def get(self, sent: None) -> Shaped[np.ndarray, " n"]:
        """A view, which changes when the worker shows something else."""
        return np.frombuffer(self._memory, np.uint8)


class Local:
    """Processes of this machine."""

    def start(
        self, main: Callable[..., None], arguments: tuple[Any, ...]
    ) -> tuple[Connection, Process]:
        """Spawns a process; it ends with this one, whatever it does."""
        # Each worker has one core; a maths library's own threads only get in the way.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        ours, theirs = CONTEXT.Pipe()
        process: Any = CONTEXT.Process(
            target=_run_main, args=(main, theirs, arguments), daemon=True
        )
        process.start()
        theirs.close()
        return ours, process

    def frame(self, size: int) -> SharedFrame:
        """Shared memory."""
        return SharedFrame(size)


LOCAL = Local()


def _run_main(
    main: Callable[..., None], connection: Connection, arguments: tuple[Any, ...]
) -> None:
    # Ctrl-C reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    call_main(main, connection, arguments)


def call_main(
    main: Callable[..., None], connection: Connection, arguments: tuple[Any, ...]
) -> None:
    """Calls a worker's `main`; what it raises is sent to the parent."""
    try:
        main(connection, *arguments)
    # Whatever went wrong, the parent must know: this process ends here.
    except Exception as error:
        with contextlib.suppress(OSError):
            connection.send(Failed(traceback.format_exc(), _portable(error)))


def _exit_with_parent() -> None:
    """A worker must not outlive a killed command, whose next run may write to the same folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _portable(error: Exception) -> Exception:
    """The error itself if it can be sent, else what it says."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
