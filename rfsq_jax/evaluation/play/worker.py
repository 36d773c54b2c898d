"""The process that owns a simulator: plays trials, asks its parent for chunks.

Pictures go to the parent through memory that both share, everything else through a pipe.

Axes: C cameras · H, W image.
"""

from __future__ import annotations

import dataclasses
import functools
import resource
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from rfsq_jax.evaluation import protocol as protocols
from rfsq_jax.evaluation.executed import digest, write_actions
from rfsq_jax.evaluation.log import Record
from rfsq_jax.evaluation.play.rollout import Played, Simulator, Stopwatch, film, play
from rfsq_jax.evaluation.play.video import FRAME_EVERY, write_filmstrip, write_video
from rfsq_jax.evaluation.protocol import Trial, placement_seed

Videos = Literal["none", "failures", "all"]
VIDEOS = ("none", "failures", "all")
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

    protocol: protocols.Protocol
    make_simulator: MakeSimulator
    output: Path
    videos: Videos = "none"


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """A question for a chunk; the pictures are in shared memory."""

    state: Float[np.ndarray, " 8"]


@dataclasses.dataclass(frozen=True)
class Finished:
    """A trial went to its end."""

    record: Record


@dataclasses.dataclass(frozen=True)
class Failed:
    """A trial broke off; the worker ends."""

    reason: str


def serve(connection: Connection, pictures: Any, job: Job) -> None:
    """Plays the trials that come through `connection` until the parent is gone.

    Args:
      connection: to the parent.
      pictures: shared bytes of one set of pictures.
      job: what to do with a trial.
    """
    # Ctrl-C reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = _Worker(connection, np.frombuffer(pictures, np.uint8), job)
    try:
        while True:
            connection.send(Finished(worker.run(connection.recv())))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    # Whatever went wrong, the parent must hear of it: this process ends here.
    except Exception:
        connection.send(Failed(traceback.format_exc()))
    finally:
        worker.close()


class _Worker:
    """Keeps the simulator of its last task."""

    def __init__(self, connection: Connection, pictures: np.ndarray, job: Job) -> None:
        self.connection = connection
        self.pictures = pictures
        self.job = job
        self._simulator: Simulator | None = None
        self._place: tuple[str, int] | None = None

    def run(self, trial: Trial) -> Record:
        """Plays, films, and describes one trial."""
        watch = Stopwatch()
        with watch("build"):
            simulator = self._simulator_of(trial.place)
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

    def _simulator_of(self, place: tuple[str, int]) -> Simulator:
        if self._simulator is None or self._place != place:
            self.close()
            size = self.job.protocol.image_size
            self._simulator, self._place = self.job.make_simulator(*place, size), place
        return self._simulator

    def _play(self, simulator: Simulator, trial: Trial, watch: Stopwatch) -> Played:
        episode = play(simulator, trial, self.job.protocol)
        send = functools.partial(next, episode)
        while True:
            try:
                view = send()
            except StopIteration as end:
                return end.value
            with watch("policy"):
                self.pictures[:] = view.images.reshape(-1)
                self.connection.send(Request(view.state))
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
    protocol: protocols.Protocol,
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
