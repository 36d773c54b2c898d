"""Worker processes: all started alike, watched for what ends them, none left behind.

A `Worker` is a process at the other end of a connection; a `Pool` has a fixed number of them, and
fresh ones in the place of those that ended. A `Place` says where the processes are: on this machine
(`LOCAL`), or on those of a Ray cluster (`parallel.ray_cluster`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Shaped

# A forked child would share the parent's threads, accelerator and OpenGL.
CONTEXT = multiprocessing.get_context("spawn")
# They say nothing about the work; others, such as SIGSEGV, are its own fault.
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
EXIT_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Killed:
    """The process was ended from outside, by this signal."""

    signal: int


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


class Worker:
    """One process and the task that it works on.

    Attributes:
      process: the process.
      task: what it was given last; None while it has nothing to do.
      last_message_time: when something last went to or came from it, of `time.monotonic`.
    """

    def __init__(self, main: Callable[..., None], *arguments: Any, place: Place = LOCAL) -> None:
        """Starts a process that calls `main(connection, *arguments)`.

        Args:
          main: importable by name.
          arguments: sent once, at the start; they may hold a `Frame` of the place.
          place: where.
        """
        self.connection, self.process = place.start(main, arguments)
        self.task: Any = None
        self.last_message_time = time.monotonic()

    def begin(self, task: Any) -> None:
        """Gives it a task."""
        self.task = task
        self.send(task)

    def send(self, message: Any) -> None:
        """Sends it something; a dead process is noticed when its answer is awaited."""
        self.last_message_time = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(message)

    def receive(self) -> Any:
        """Waits for its next message: what its `main` sends, or `Failed`, or `Killed`."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(EXIT_SECONDS)
            message = _ending(self.process.exitcode)
        self.last_message_time = time.monotonic()
        return message

    def stop(self) -> None:
        """Ends the process at once."""
        self.process.kill()
        self.process.join()
        self.connection.close()


W = TypeVar("W", bound=Worker)


class Pool(Generic[W]):
    """Up to `size` workers; a context manager that leaves no process behind."""

    def __init__(self, make: Callable[[int], W], size: int) -> None:
        """Starts no process yet.

        Args:
          make: starts the worker of a number.
          size: how many run at once.
        """
        self._make, self._size = make, size
        self.next_number = 0
        self.workers: list[W] = []

    def idle(self) -> list[W]:
        """Workers without a task."""
        return [worker for worker in self.workers if worker.task is None]

    def has_room(self) -> bool:
        """Whether another worker may start."""
        return len(self.workers) < self._size

    def start(self) -> W:
        """Starts the worker `next_number`."""
        self.workers.append(self._make(self.next_number))
        self.next_number += 1
        return self.workers[-1]

    def wait(self, timeout: float | None = None) -> list[W]:
        """Busy workers that sent something or ended, oldest first; none after `timeout` seconds."""
        busy = [worker for worker in self.workers if worker.task is not None]
        ready = multiprocessing.connection.wait([each.connection for each in busy], timeout)
        return [worker for worker in busy if worker.connection in ready]

    def dismiss(self, worker: W) -> None:
        """Ends a worker and makes room for a fresh one."""
        worker.stop()
        self.workers.remove(worker)

    def __enter__(self) -> Pool[W]:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.stop()
        self.workers.clear()


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


def _ending(exit_code: int | None) -> Failed | Killed:
    if exit_code is not None and -exit_code in FROM_OUTSIDE:
        return Killed(-exit_code)
    if exit_code is not None and exit_code < 0:
        return Failed(f"the worker crashed with {signal.Signals(-exit_code).name}")
    return Failed(f"the worker ended before its task did, exit code {exit_code}")
