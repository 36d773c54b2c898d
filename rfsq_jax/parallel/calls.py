"""Functions called in worker processes: one after the other, or a list of tasks shared out."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from rfsq_jax.parallel.places import LOCAL, Failed, Place
from rfsq_jax.parallel.workers import Killed, Pool, Worker


@dataclasses.dataclass(frozen=True)
class Report:
    """What a call says on the way."""

    value: Any


@dataclasses.dataclass(frozen=True)
class Result:
    """What a call returns."""

    value: Any


class WorkerDiedError(RuntimeError):
    """A worker was killed or crashed before it had a result."""


class KilledError(WorkerDiedError):
    """A worker was ended from outside."""


class Caller(Worker):
    """A worker that calls `function(*task, report)` for each task that it is given."""

    def __init__(self, function: Callable[..., Any], place: Place = LOCAL) -> None:
        """Starts the process.

        Args:
          function: importable by name; its last argument sends a value while it is at work.
          place: where.
        """
        super().__init__(_serve, function, place=place)

    def answer(self) -> Report | Result:
        """Waits for the next report, or for the result of its task.

        Raises:
          WorkerDiedError: if the process was killed or crashed.
          Exception: what the function raised, with its traceback as a note.
        """
        match message := self.receive():
            case Failed(reason=reason, error=Exception() as error):
                error.add_note(f"in a worker process:\n{reason}")
                raise error
            case Failed(reason=reason):
                raise WorkerDiedError(reason)
            case Killed(signal=number):
                name = signal.Signals(number).name
                raise KilledError(f"a worker was killed by {name}, perhaps for lack of memory")
            case Result():
                self.task = None
        return message

    def result(self) -> Any:
        """Waits for the result of its task; raises as `answer` does."""
        while not isinstance(message := self.answer(), Result):
            pass
        return message.value


def run_all(
    function: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    *,
    workers: int,
    on_report: Callable[[Any], object] = lambda value: None,
    place: Place = LOCAL,
    most_kills: int = 0,
) -> list[Any]:
    """Calls `function(*task, report)` for every task in worker processes; returns the results.

    Args:
      function: importable by name; it may call its last argument while it is at work.
      tasks: arguments of each call, taken up in this order.
      workers: processes at most.
      on_report: called here with what the function reports.
      place: where the processes run.
      most_kills: how many of them may be killed; their tasks are begun again on others.

    Raises:
      WorkerDiedError: if a process crashed, or more were killed.
      Exception: the first one that a call raised; the other calls are broken off.
    """
    waiting, results = list(range(len(tasks)))[::-1], {}
    numbers: dict[Caller, int] = {}
    kills = 0
    with Pool(lambda _: Caller(function, place), workers) as pool:
        while len(results) < len(tasks):
            while waiting and (pool.idle() or pool.has_room()):
                worker = next(iter(pool.idle()), None) or pool.start()
                numbers[worker] = waiting.pop()
                worker.begin(tasks[numbers[worker]])
            for worker in pool.wait():
                try:
                    message = worker.answer()
                except KilledError:
                    kills += 1
                    if kills > most_kills:
                        raise
                    waiting.append(numbers.pop(worker))
                    pool.dismiss(worker)
                    continue
                if isinstance(message, Result):
                    results[numbers[worker]] = message.value
                else:
                    on_report(message.value)
    return [results[number] for number in range(len(tasks))]


def _serve(connection: Connection, function: Callable[..., Any]) -> None:
    while True:
        task = connection.recv()
        connection.send(Result(function(*task, lambda value: connection.send(Report(value)))))
