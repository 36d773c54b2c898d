"""Workers as their parent sees them.

Axes: C cameras · H, W image.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import time
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Float, UInt8

from rfsq_jax.evaluation.play.worker import Failed, Finished, Job, Request, serve
from rfsq_jax.evaluation.protocol import Trial

FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
"""Signals that say nothing about the simulator; others, such as SIGSEGV, are its own fault."""

GOODBYE_SECONDS = 10.0


class Killed(NamedTuple):
    """A worker was ended from outside."""

    signal: int


Message = Request | Finished | Failed | Killed


class Worker:
    """One process, the trial it plays and the pictures it shows."""

    def __init__(self, number: int, job: Job, cameras: int) -> None:
        """Starts the process; it builds its simulator when a trial comes."""
        context = multiprocessing.get_context("spawn")
        size = job.protocol.image_size
        pictures = context.RawArray("B", cameras * size * size * 3)
        self.number = number
        self.images: UInt8[np.ndarray, "c h w 3"]
        self.images = np.frombuffer(pictures, np.uint8).reshape(cameras, size, size, 3)
        self.connection, theirs = context.Pipe()
        self.process: Any = context.Process(target=serve, args=(theirs, pictures, job), daemon=True)
        self.process.start()
        theirs.close()
        self.trial: Trial | None = None
        self.state = np.zeros(8, np.float32)
        self.heard = time.monotonic()

    def play(self, trial: Trial) -> None:
        """Gives it a trial; a dead process is noticed when its answer is awaited."""
        self.trial = trial
        self._send(trial)

    def answer(self, chunk: Float[np.ndarray, "t 7"]) -> None:
        """Gives it the chunk it asked for."""
        self._send(chunk)

    def receive(self) -> Message:
        """The next message, or what ended the process."""
        self.heard = time.monotonic()
        try:
            return cast(Message, self.connection.recv())
        except (EOFError, OSError):
            self.process.join(GOODBYE_SECONDS)
            return _cause(self.process.exitcode)

    def stop(self) -> None:
        """Ends the process at once."""
        self.process.kill()
        self.process.join()
        self.connection.close()

    def _send(self, value: Any) -> None:
        self.heard = time.monotonic()
        try:
            self.connection.send(value)
        except (BrokenPipeError, ConnectionResetError):
            return


class Pool:
    """A fixed number of workers; a context manager that leaves no process behind."""

    def __init__(self, job: Job, size: int, cameras: int) -> None:
        """Starts no process yet."""
        # Each simulator runs on one core; a maths library's own threads only get in the way.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self._job, self._size, self._cameras = job, size, cameras
        self.next_number = 0
        self.workers: list[Worker] = []

    def idle(self) -> list[Worker]:
        """Workers without a trial."""
        return [worker for worker in self.workers if worker.trial is None]

    def has_room(self) -> bool:
        """Whether another worker may start."""
        return len(self.workers) < self._size

    def start(self) -> Worker:
        """Starts the worker `next_number`."""
        self.workers.append(Worker(self.next_number, self._job, self._cameras))
        self.next_number += 1
        return self.workers[-1]

    def wait(self, timeout: float) -> list[Worker]:
        """Busy workers that said something, or ended; empty after `timeout` seconds."""
        busy: dict[Any, Worker] = {w.connection: w for w in self.workers if w.trial is not None}
        ready = multiprocessing.connection.wait(list(busy), timeout)
        return sorted((busy[each] for each in ready), key=lambda worker: worker.number)

    def dismiss(self, worker: Worker) -> None:
        """Ends a worker and makes room for a fresh one."""
        worker.stop()
        self.workers.remove(worker)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.stop()
        self.workers.clear()


def _cause(exit_code: int | None) -> Failed | Killed:
    if exit_code is not None and -exit_code in FROM_OUTSIDE:
        return Killed(-exit_code)
    if exit_code is not None and exit_code < 0:
        return Failed(f"the worker crashed with {signal.Signals(-exit_code).name}")
    return Failed(f"the worker ended without a word, exit code {exit_code}")
