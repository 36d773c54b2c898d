"""Worker processes: all started alike, watched for what ends them, none left behind.

A `Worker` is a process at the other end of a connection; a `Pool` has a fixed number of them, and
fresh ones in the place of those that ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing.connection
import signal
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from rfsq_jax.parallel.places import LOCAL, Failed, Place

# They say nothing about the work; others, such as SIGSEGV, are its own fault.
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
EXIT_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Killed:
    """The process was ended from outside, by this signal."""

    signal: int


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


def _ending(exit_code: int | None) -> Failed | Killed:
    if exit_code is not None and -exit_code in FROM_OUTSIDE:
        return Killed(-exit_code)
    if exit_code is not None and exit_code < 0:
        return Failed(f"the worker crashed with {signal.Signals(-exit_code).name}")
    return Failed(f"the worker ended before its task did, exit code {exit_code}")
