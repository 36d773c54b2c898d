"""Plays all trials of a run: hands them out to workers, batches what they show, retries what broke,
logs what finished.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from rfsq_jax.data.observations import Observations
from rfsq_jax.evaluation.log import EpisodeLog, Record
from rfsq_jax.evaluation.play.batched_policy import Server
from rfsq_jax.evaluation.play.worker import Finished, Request, SimulatorWorker
from rfsq_jax.evaluation.protocol import Scene, Trial
from rfsq_jax.parallel.places import Failed
from rfsq_jax.parallel.workers import Killed, Pool

MAX_TRIES = 2
MAX_KILLS = 10
"""A trial whose workers die so often is not killed by chance; perhaps memory runs out."""

MAX_ERRORS = 5
"""So many trials with errors say that the rest will not fare better."""

PATIENCE_SECONDS = 900.0
"""A worker that sends nothing for longer hangs."""


@dataclasses.dataclass(frozen=True)
class EpisodeError:
    """A trial that could not be played to its end.

    Attributes:
      trial: which.
      reasons: what went wrong, each time.
    """

    trial: Trial
    reasons: tuple[str, ...]


class Schedule:
    """Trials that wait. A worker stays with its task, whose scene it has; without work it helps the
    largest one, so that nobody idles at the end.
    """

    def __init__(self, trials: Sequence[Trial]) -> None:
        """Puts them in line, task by task."""
        self._waiting: dict[Scene, deque[Trial]] = {}
        for trial in trials:
            self._waiting.setdefault(trial.scene, deque()).append(trial)
        self._loaded: dict[int, Scene] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def take(self, worker: int) -> Trial | None:
        """The next trial of a worker; None if all that wait are in better hands.

        Args:
          worker: its number; what it played last is remembered as the scene that it has built.
        """
        scene = self._loaded.get(worker)
        if scene is None or not self._waiting[scene]:
            scene = self._neediest(worker)
            if scene is None:
                return None
        self._loaded[worker] = scene
        return self._waiting[scene].popleft()

    def give_back(self, trial: Trial) -> None:
        """Puts a trial that was not finished first in its line."""
        self._waiting[trial.scene].appendleft(trial)

    def forget(self, worker: int) -> None:
        """A worker ended, and its scene with it."""
        self._loaded.pop(worker, None)

    def _neediest(self, worker: int) -> Scene | None:
        """The task with most waiting trials per worker; a scene costs about one episode to build.

        Where each worker that has the scene has at most one trial left, a helper comes too late.
        """
        owners = Counter(scene for who, scene in self._loaded.items() if who != worker)
        needy = [s for s, waiting in self._waiting.items() if len(waiting) > owners[s]]
        return min(
            needy, key=lambda s: (owners[s], -len(self._waiting[s]) / (owners[s] + 1)), default=None
        )


class Evaluation:
    """One run; call `play_all` once."""

    def __init__(
        self,
        pool: Pool[SimulatorWorker],
        server: Server,
        log: EpisodeLog,
        after_episode: Callable[[Record], object] = lambda record: None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """Joins the parts.

        Args:
          pool: workers.
          server: the policy.
          log: finished episodes; those are not played again.
          after_episode: called with every newly finished episode.
          patience: seconds without a message after which a worker counts as hanging.
        """
        self._pool, self._server, self._log = pool, server, log
        self._after_episode, self._patience = after_episode, patience
        self._reasons: dict[Trial, list[str]] = {}
        self._kills: Counter[Trial] = Counter()
        self._errors: list[EpisodeError] = []
        self._schedule = Schedule([])

    @property
    def kills(self) -> int:
        """Workers that were ended from outside."""
        return self._kills.total()

    def play_all(self, trials: Sequence[Trial]) -> list[EpisodeError]:
        """Plays the trials that the log does not have; returns those that cannot be played."""
        self._schedule = Schedule([each for each in trials if each not in self._log.records])
        while len(self._errors) < MAX_ERRORS:
            self._give_work()
            if len(self._pool.idle()) == len(self._pool.workers):
                break
            ready = self._pool.wait(timeout=min(5.0, self._patience / 4))
            shown = {worker: self._handle(worker, worker.receive()) for worker in ready}
            self._answer({w: each for w, each in shown.items() if each is not None})
            self._stop_unresponsive()
        return sorted(self._errors, key=lambda error: error.trial)

    def _give_work(self) -> None:
        for worker in self._pool.idle():
            if (trial := self._schedule.take(worker.number)) is not None:
                worker.begin(trial)
        while self._pool.has_room():
            trial = self._schedule.take(self._pool.next_number)
            if trial is None:
                return
            self._pool.start().begin(trial)

    def _handle(self, worker: SimulatorWorker, message: Any) -> Observations | None:
        """Deals with a message; returns what a worker that asks for a chunk shows."""
        match message:
            case Request():
                return worker.shown(message)
            case Finished(record=record):
                self._finish(worker, record)
            case Failed(reason=reason):
                self._lose(worker, reason)
            case Killed(signal=number):
                self._replace(worker, number)
        return None

    def _finish(self, worker: SimulatorWorker, record: Record) -> None:
        attempts = 1 + len(self._reasons.get(record.key, [])) + self._kills[record.key]
        record = dataclasses.replace(record, attempts=attempts)
        self._log.append(record)
        worker.task = None
        self._after_episode(record)

    def _lose(self, worker: SimulatorWorker, reason: str) -> None:
        """An error: once more on a fresh worker, then it is final."""
        trial = self._dismiss(worker)
        reasons = self._reasons.setdefault(trial, [])
        reasons.append(reason)
        if len(reasons) < MAX_TRIES:
            self._schedule.give_back(trial)
        else:
            self._errors.append(EpisodeError(trial, tuple(reasons)))

    def _replace(self, worker: SimulatorWorker, number: int) -> None:
        """A kill is no fault of the trial, which is played again."""
        trial = self._dismiss(worker)
        self._kills[trial] += 1
        if self._kills[trial] < MAX_KILLS:
            self._schedule.give_back(trial)
        else:
            reason = f"{MAX_KILLS} workers were killed (signal {number}); does memory run out?"
            self._errors.append(EpisodeError(trial, (reason,)))

    def _dismiss(self, worker: SimulatorWorker) -> Trial:
        trial = worker.task
        self._schedule.forget(worker.number)
        self._pool.dismiss(worker)
        return trial

    def _answer(self, asking: dict[SimulatorWorker, Observations]) -> None:
        if not asking:
            return
        try:
            chunks = self._server.answer(list(asking.values()))
        # Whatever the policy raises is an error of an episode, not its failure.
        except Exception as error:
            if len(asking) == 1:
                self._lose(next(iter(asking)), f"the policy raised {type(error).__name__}: {error}")
                return
            for worker, shown in asking.items():
                self._answer({worker: shown})
            return
        for worker, chunk in zip(asking, chunks, strict=True):
            worker.send(chunk)

    def _stop_unresponsive(self) -> None:
        now = time.monotonic()
        for worker in list(self._pool.workers):
            if worker.task is not None and now - worker.last_message_time > self._patience:
                self._lose(worker, f"the worker sent nothing for {self._patience:.0f} s")
