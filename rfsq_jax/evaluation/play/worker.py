"""The process that owns a simulator: plays trials, asks its parent for chunks.

Images go to the parent through a `Frame`, which on one machine is memory that both share.

Axes: C cameras · H, W image.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from rfsq_jax.data.observations import Observations
from rfsq_jax.evaluation.log import Record, digest, write_actions
from rfsq_jax.evaluation.play.rollout import Played, Simulator, Stopwatch, film, play
from rfsq_jax.evaluation.play.video import FRAME_EVERY, write_filmstrip, write_video
from rfsq_jax.evaluation.protocol import EvaluationProtocol, Scene, Trial, placement_seed
from rfsq_jax.parallel.places import LOCAL, Frame, Place
from rfsq_jax.parallel.workers import Worker

Videos = Literal["none", "failures", "all"]
MakeSimulator = Callable[[str, int, int], Simulator]
"""Suite, task, image size -> simulator."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What all workers of a run have in common.

    Attributes:
      protocol: how episodes are played.
      make_simulator: builds a scene; importable by name, since it is sent to new processes.
      output: the run's folder.
      videos: which episodes are filmed.
    """

    protocol: EvaluationProtocol
    make_simulator: MakeSimulator
    output: Path
    videos: Videos = "none"


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """A request for a chunk; `images` is what the frame needs to show them."""

    instruction: str
    state: Float[np.ndarray, " 8"]
    images: Any


@dataclasses.dataclass(frozen=True)
class Finished:
    """A trial went to its end."""

    record: Record


class SimulatorWorker(Worker):
    """The process as its parent sees it; its tasks are trials.

    Attributes:
      number: of the process within the run.
    """

    def __init__(self, number: int, job: Job, cameras: int, place: Place = LOCAL) -> None:
        """Starts the process; it builds its simulator when a trial comes."""
        size = job.protocol.image_size
        self._shape = (1, cameras, size, size, 3)
        self._frame = place.frame(math.prod(self._shape))
        super().__init__(serve, self._frame, job, place=place)
        self.number = number

    def shown(self, request: Request) -> Observations:
        """What the policy is shown; the images change when the worker has its chunk."""
        images = self._frame.get(request.images).reshape(self._shape)
        return Observations(images, [request.instruction], request.state[None])


def serve(connection: Connection, frame: Frame, job: Job) -> None:
    """Plays the trials that come through `connection`.

    Args:
      connection: to the parent.
      frame: for the images of all cameras.
      job: what to do with a trial.
    """
    player = _Player(connection, frame, job)
    try:
        while True:
            connection.send(Finished(player.run(connection.recv())))
    finally:
        player.close()


class _Player:
    """Keeps the simulator of its last task."""

    def __init__(self, connection: Connection, frame: Frame, job: Job) -> None:
        self.connection = connection
        self.frame = frame
        self.job = job
        self._simulator: Simulator | None = None
        self._scene: Scene | None = None

    def run(self, trial: Trial) -> Record:
        """Plays, films, and describes one trial."""
        watch = Stopwatch()
        with watch("build"):
            simulator = self._simulator_of(trial.scene)
        began = time.perf_counter()
        played = self._play(simulator, trial, watch)
        write_actions(self.job.output, trial, played.actions)
        wanted = self.job.videos == "all" or (self.job.videos == "failures" and not played.success)
        with watch("video"):
            paths = self._film(simulator, trial, played) if wanted else (None, None)
        total = {"total": time.perf_counter() - began}
        seconds = {**played.seconds, **watch.seconds, **total}
        return describe(trial, self.job.protocol, played, seconds, paths)

    def close(self) -> None:
        """Frees the simulator."""
        if self._simulator is not None:
            self._simulator.close()
        self._simulator = None

    def _simulator_of(self, scene: Scene) -> Simulator:
        if self._simulator is None or self._scene != scene:
            self.close()
            size = self.job.protocol.image_size
            self._simulator, self._scene = self.job.make_simulator(*scene, size), scene
        return self._simulator

    def _play(self, simulator: Simulator, trial: Trial, watch: Stopwatch) -> Played:
        episode = play(simulator, trial, self.job.protocol)
        send = functools.partial(next, episode)
        while True:
            try:
                shown = send()
            except StopIteration as end:
                return end.value
            with watch("policy"):
                images = self.frame.put(np.asarray(shown.images))
                self.connection.send(Request(shown.instructions[0], shown.state[0], images))
                chunk = self.connection.recv()
            send = functools.partial(episode.send, chunk)

    def _film(self, simulator: Simulator, trial: Trial, played: Played) -> tuple[str, str]:
        frames = film(simulator, trial, self.job.protocol, played, FRAME_EVERY)
        outcome = "success" if played.success else "failure"
        stem = f"videos/{trial.suite}-task{trial.task:02d}-trial{trial.number:02d}-{outcome}"
        video, strip = f"{stem}.mp4", f"{stem}.jpg"
        write_video(self.job.output / video, frames)
        write_filmstrip(self.job.output / strip, frames)
        return video, strip


def describe(
    trial: Trial,
    protocol: EvaluationProtocol,
    played: Played,
    seconds: dict[str, float],
    paths: tuple[str | None, str | None],
) -> Record:
    """What the log keeps of an episode."""
    official = protocol.starts == "official"
    return Record(
        suite=trial.suite,
        task=trial.task,
        trial=trial.number,
        success=played.success,
        steps=len(played.actions),
        chunks=played.chunks,
        seed=protocol.seed,
        initial_state=trial.number if official else None,
        placement_seed=None if official else placement_seed(trial, protocol.seed),
        actions_sha256=digest(played.actions),
        seconds={name: round(value, 4) for name, value in seconds.items()},
        worker_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        video=paths[0],
        filmstrip=paths[1],
    )
