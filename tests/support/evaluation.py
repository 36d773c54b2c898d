"""A simulator of a few sums, with faults on demand, and a policy for it."""

from __future__ import annotations

import dataclasses
import functools
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

from rfsq_jax.evaluation.log import EpisodeLog, Record
from rfsq_jax.evaluation.play.batched_policy import Server
from rfsq_jax.evaluation.play.rollout import play
from rfsq_jax.evaluation.play.run import PATIENCE_SECONDS, Evaluation
from rfsq_jax.evaluation.play.worker import Job, MakeSimulator, SimulatorWorker
from rfsq_jax.evaluation.protocol import EvaluationProtocol, Trial, placement_seed
from rfsq_jax.parallel.places import LOCAL, Place
from rfsq_jax.parallel.workers import Pool
from tests.support.processes import wait_to_be_killed

SIZE, CAMERAS = 8, 2
PROTOCOL = EvaluationProtocol(execute=4, starts="random", step_limit=24, image_size=SIZE)
SUITE = "libero_spatial"


@dataclasses.dataclass(frozen=True)
class Fault:
    """What goes wrong at step 5 of a trial.

    Attributes:
      trial: which.
      kind: error, crash, exit, hang or kill.
      marks: a folder that counts how often it happened.
      times: how often it happens; then the trial works.
    """

    trial: Trial
    kind: str
    marks: Path
    times: int = 99

    def strike(self) -> None:
        """Counts, then breaks."""
        count = len(list(self.marks.glob("*")))
        if count >= self.times:
            return
        (self.marks / f"{count}-{os.getpid()}").touch()
        if self.kind == "error":
            raise ValueError("the simulator exploded")
        if self.kind == "exit":
            os._exit(3)
        if self.kind == "hang":
            wait_to_be_killed()
        os.kill(os.getpid(), signal.SIGSEGV if self.kind == "crash" else signal.SIGKILL)


class Sums:
    """State adds up actions; reaching a distance that depends on the trial is success."""

    def __init__(self, suite, task, image_size, fault=None):
        self.size, self.fault = image_size, fault
        self.rendered = 0
        self.instruction = f"task {task}"

    def begin(self, trial, protocol):
        self.trial, self.steps = trial, 0
        rng = np.random.default_rng(placement_seed(trial, protocol.seed))
        self.state = rng.normal(size=8).astype(np.float32)
        self.goal = float(rng.uniform(1.0, 8.0))
        return self.state.copy()

    def step(self, action):
        self.steps += 1
        if self.fault is not None and self.trial == self.fault.trial and self.steps == 5:
            self.fault.strike()
        self.state[:7] += np.float32(0.25) * action
        return self.state.copy()

    def success(self):
        return bool(np.abs(self.state[:7]).mean() > self.goal)

    def render(self):
        self.rendered += 1
        pixels = np.resize(np.abs(self.state * 40), (CAMERAS, self.size, self.size, 3))
        return pixels.astype(np.uint8)

    def snapshot(self):
        return np.concatenate([self.state, [self.steps]])

    def close(self):
        pass


class Pushes:
    """Pushes away from the mean of what it sees; counts its calls."""

    horizon = 8

    def __init__(self, broken_for="", bad=None):
        self.calls, self.broken_for, self.bad = 0, broken_for, bad

    def act(self, observations):
        self.calls += 1
        if self.broken_for and self.broken_for in observations.instructions:
            raise RuntimeError("the policy is out of ideas")
        if self.bad is not None:
            return self.bad
        light = observations.images.mean(axis=(1, 2, 3, 4), dtype=np.float64) / 255
        pushes = np.sign(observations.state[:, None, :7]) * (0.2 + light[:, None, None])
        return np.repeat(pushes, self.horizon, axis=1).astype(np.float32)


def record_of(trial: Trial, *, success: bool = True, actions_sha256: str = "0" * 64) -> Record:
    """A logged episode of which only this matters."""
    return Record(
        suite=trial.suite,
        task=trial.task,
        trial=trial.number,
        success=success,
        steps=10,
        chunks=2,
        seed=0,
        initial_state=None,
        placement_seed=1,
        actions_sha256=actions_sha256,
        seconds={"total": 1.0},
        worker_mib=1.0,
    )


def trials_of(tasks, count):
    return [Trial(SUITE, task, number) for task in range(tasks) for number in range(count)]


def evaluate(
    folder: Path,
    trials: list[Trial],
    make: MakeSimulator = Sums,
    workers: int = 2,
    batch: int = 1,
    actor: Any = None,
    watch: Any = None,
    patience: float = PATIENCE_SECONDS,
    place: Place = LOCAL,
):
    """Plays trials; returns the log's records, the errors and the evaluation."""
    log = EpisodeLog(folder / "episodes.jsonl")
    server = Server(Pushes() if actor is None else actor, batch)
    job = Job(protocol=PROTOCOL, make_simulator=make, output=folder)
    start = functools.partial(SimulatorWorker, job=job, cameras=CAMERAS, place=place)
    with Pool(start, workers) as pool:
        follow = (lambda record: None) if watch is None else (lambda record: watch(pool, record))
        evaluation = Evaluation(pool, server, log, follow, patience)
        errors = evaluation.play_all(trials)
    return log.records, errors, evaluation


def outcomes(records):
    """What must not depend on how a run went."""
    fields = ("success", "steps", "chunks", "placement_seed", "actions_sha256")
    return {key: tuple(getattr(each, name) for name in fields) for key, each in records.items()}


def play_through(trial, pushes=None, simulator=None):
    """Plays a trial in this process: simulator and how it went."""
    simulator = simulator or Sums(SUITE, 0, SIZE)
    actor = pushes or Pushes()
    episode = play(simulator, trial, PROTOCOL)
    shown = next(episode)
    while True:
        try:
            shown = episode.send(Server(actor, 1).answer([shown])[0])
        except StopIteration as end:
            return simulator, end.value
