"""Plays all trials of a run: batches questions, retries what broke, logs what finished."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Sequence

from rfsq_jax.evaluation.log import EpisodeLog, Record
from rfsq_jax.evaluation.play.batched_policy import Question, Server
from rfsq_jax.evaluation.play.schedule import Place, Schedule
from rfsq_jax.evaluation.play.worker import Failed, Finished, Request
from rfsq_jax.evaluation.play.worker_pool import Killed, Message, Pool, Worker
from rfsq_jax.evaluation.protocol import Trial

MAX_TRIES = 2
MAX_KILLS = 10
"""A trial whose workers die so often is not killed by chance; perhaps memory runs out."""

MAX_ERRORS = 5
"""So many trials with errors say that the rest will not fare better."""

PATIENCE_SECONDS = 900.0
"""A worker that is silent for longer hangs."""


@dataclasses.dataclass(frozen=True)
class EpisodeError:
    """A trial that could not be played to its end.

    Attributes:
      trial: which.
      reasons: what went wrong, each time.
    """

    trial: Trial
    reasons: tuple[str, ...]


class Evaluation:
    """One run; call `play_all` once."""

    def __init__(
        self,
        pool: Pool,
        server: Server,
        log: EpisodeLog,
        instructions: dict[Place, str],
        after_episode: Callable[[Record], object] = lambda record: None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """Joins the parts.

        Args:
          pool: workers.
          server: the policy.
          log: finished episodes; those are not played again.
          instructions: what the policy is told, by suite and task.
          after_episode: called with every newly finished episode.
          patience: seconds without a word after which a worker counts as hanging.
        """
        self._pool, self._server, self._log = pool, server, log
        self._instructions, self._after_episode = instructions, after_episode
        self._patience = patience
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
            if all(worker.trial is None for worker in self._pool.workers):
                break
            ready = self._pool.wait(timeout=min(5.0, self._patience / 4))
            asking = [worker for worker in ready if self._handle(worker, worker.receive())]
            self._answer(asking)
            self._end_the_silent()
        return sorted(self._errors, key=lambda error: error.trial)

    def _give_work(self) -> None:
        for worker in self._pool.idle():
            if (trial := self._schedule.take(worker.number)) is not None:
                worker.play(trial)
        while self._pool.has_room():
            trial = self._schedule.take(self._pool.next_number)
            if trial is None:
                return
            self._pool.start().play(trial)

    def _handle(self, worker: Worker, message: Message) -> bool:
        """Deals with a message; returns whether the worker asked for a chunk."""
        match message:
            case Request(state=state):
                worker.state = state
                return True
            case Finished(record=record):
                self._finish(worker, record)
            case Failed(reason=reason):
                self._lose(worker, reason)
            case Killed(signal=number):
                self._replace(worker, number)
        return False

    def _finish(self, worker: Worker, record: Record) -> None:
        attempts = 1 + len(self._reasons.get(record.key, [])) + self._kills[record.key]
        record = dataclasses.replace(record, attempts=attempts)
        self._log.append(record)
        worker.trial = None
        self._after_episode(record)

    def _lose(self, worker: Worker, reason: str) -> None:
        """An error: once more on a fresh worker, then it is final."""
        trial = self._dismiss(worker)
        reasons = self._reasons.setdefault(trial, [])
        reasons.append(reason)
        if len(reasons) < MAX_TRIES:
            self._schedule.give_back(trial)
        else:
            self._errors.append(EpisodeError(trial, tuple(reasons)))

    def _replace(self, worker: Worker, number: int) -> None:
        """A kill is no fault of the trial, which is played again."""
        trial = self._dismiss(worker)
        self._kills[trial] += 1
        if self._kills[trial] < MAX_KILLS:
            self._schedule.give_back(trial)
        else:
            reason = f"{MAX_KILLS} workers were killed (signal {number}); does memory run out?"
            self._errors.append(EpisodeError(trial, (reason,)))

    def _dismiss(self, worker: Worker) -> Trial:
        trial = worker.trial
        assert trial is not None, "only busy workers are listened to"
        self._schedule.forget(worker.number)
        self._pool.dismiss(worker)
        return trial

    def _answer(self, asking: list[Worker]) -> None:
        if not asking:
            return
        try:
            chunks = self._server.answer([self._question(worker) for worker in asking])
        # Whatever the policy raises is an error of an episode, not its failure.
        except Exception as error:
            if len(asking) == 1:
                self._lose(asking[0], f"the policy raised {type(error).__name__}: {error}")
                return
            for worker in asking:
                self._answer([worker])
            return
        for worker, chunk in zip(asking, chunks, strict=True):
            worker.answer(chunk)

    def _question(self, worker: Worker) -> Question:
        assert worker.trial is not None, "only busy workers ask"
        return Question(worker.images, self._instructions[worker.trial.place], worker.state)

    def _end_the_silent(self) -> None:
        now = time.monotonic()
        for worker in list(self._pool.workers):
            if worker.trial is not None and now - worker.heard > self._patience:
                self._lose(worker, f"the worker said nothing for {self._patience:.0f} s")
