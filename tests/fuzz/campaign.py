"""Runs cases in worker processes, which damaged files may crash or hang."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from rfsq_jax.parallel.places import Failed
from rfsq_jax.parallel.workers import Killed, Pool, Worker
from tests.fuzz.cases import Case, Result, run_case
from tests.fuzz.instances import Damage, scratch_root
from tests.fuzz.outcome import LIMIT_SECONDS, Outcome, prepare_process

GRACE_SECONDS = 5.0
"""After its own limit a case is ended from outside: it may be stuck where Python cannot stop it."""
PREPARE_SECONDS = 300.0
WAIT_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Begun:
    """A worker's word that it loads now, and what."""

    mutator: str
    path: str


def serve(connection: Connection, root: str, limit: float = LIMIT_SECONDS) -> None:
    """The main function of a worker: runs each case that it is sent, in folders below `root`."""
    tempfile.tempdir = root
    # Libraries below Python write about damaged files there.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    logging.disable(logging.CRITICAL)
    prepare_process()

    def begin(found: Damage) -> None:
        connection.send(Begun(found.mutator, found.path))

    while True:
        connection.send(run_case(connection.recv(), begin, limit))


def run_cases(
    cases: Iterable[Case],
    workers: int,
    limit: float = LIMIT_SECONDS + GRACE_SECONDS,
    main: Callable[[Connection, str], None] = serve,
) -> Iterator[Result]:
    """Yields a result for every case, as they end.

    Args:
      cases: what is run.
      workers: processes.
      limit: seconds after which one is ended from outside.
      main: of the workers.
    """
    waiting = deque(cases)
    with scratch_root() as root, Pool(lambda number: Watched(main, root), workers) as pool:
        while waiting or len(pool.idle()) < len(pool.workers):
            while waiting and (pool.idle() or pool.has_room()):
                worker = pool.idle()[0] if pool.idle() else pool.start()
                worker.begun = None
                worker.begin(waiting.popleft())
            for worker in pool.wait(WAIT_SECONDS):
                yield from _take(pool, worker)
            for worker in list(pool.workers):
                if worker.task is not None and worker.is_late(limit):
                    detail = f"stopped from outside after {limit:g} s"
                    yield worker.ended(Outcome("hang", detail))
                    pool.dismiss(worker)


class Watched(Worker):
    """A worker that says when it begins to load.

    Attributes:
      begun: what it loads; None while it makes valid files.
    """

    begun: Begun | None = None

    def is_late(self, limit: float) -> bool:
        """Whether the case takes too long."""
        waited = time.monotonic() - self.last_message_time
        return waited > (PREPARE_SECONDS if self.begun is None else limit)

    def ended(self, outcome: Outcome) -> Result:
        """The result of a case that the worker could not end itself."""
        begun = self.begun or Begun("valid files", "")
        return Result(self.task, begun.mutator, begun.path, outcome)


def _take(pool: Pool[Watched], worker: Watched) -> Iterator[Result]:
    message: Any = worker.receive()
    if isinstance(message, Begun):
        worker.begun = message
    elif isinstance(message, Result):
        worker.task = None
        yield message
    else:
        yield worker.ended(_death(message, worker))
        pool.dismiss(worker)


def _death(message: Any, worker: Watched) -> Outcome:
    """How a worker's end is counted; an error while it made valid files is the fuzzer's own.

    Raises:
      RuntimeError: if it broke off before it loaded anything.
    """
    if isinstance(message, Failed) and (message.error is not None or worker.begun is None):
        raise RuntimeError(f"the fuzzer failed at {worker.task}: {message.reason}")
    if isinstance(message, Killed) and message.signal == signal.SIGKILL:
        return Outcome("memory", "killed by the system")
    return Outcome("crash", str(getattr(message, "reason", message)))
