"""One episode, as a generator that asks for chunks; images are rendered only for those.

Axes: N steps played · T steps of a chunk · C cameras · H, W image · S simulator state.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import defaultdict
from collections.abc import Generator, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from rfsq_jax.data.observations import Observations
from rfsq_jax.evaluation.protocol import EvaluationProtocol, Trial


@runtime_checkable
class Simulator(Protocol):
    """What an episode needs of a simulator."""

    @property
    def instruction(self) -> str:
        """What the policy is told."""
        ...

    def begin(self, trial: Trial, protocol: EvaluationProtocol) -> Float[np.ndarray, " 8"]:
        """Goes to the trial's start, settles, and returns the policy's state: float32 [8]."""
        ...

    def step(self, action: Float[np.ndarray, " 7"]) -> Float[np.ndarray, " 8"]:
        """Plays one action and returns the policy's state: float32 [8]."""
        ...

    def success(self) -> bool:
        """Whether the goal holds now."""
        ...

    def render(self) -> UInt8[np.ndarray, "c h w 3"]:
        """The images of the policy's cameras now."""
        ...

    def snapshot(self) -> Float[np.ndarray, " s"]:
        """The whole state, to compare two plays."""
        ...

    def close(self) -> None:
        """Frees it."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Played:
    """How an episode went.

    Attributes:
      success: whether the goal held after the last step.
      actions: float32 [N, 7].
      chunks: how often the policy was asked.
      final: simulator state after the last step.
      seconds: where the time went: reset, render, physics.
    """

    success: bool
    actions: Float[np.ndarray, "n 7"]
    chunks: int
    final: Float[np.ndarray, " s"]
    seconds: dict[str, float]


class Stopwatch:
    """Adds up seconds under names."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Times what happens inside."""
        began = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - began


def play(
    simulator: Simulator, trial: Trial, protocol: EvaluationProtocol
) -> Generator[Observations, Float[np.ndarray, "t 7"], Played]:
    """Plays a trial: yields what the policy is shown, is sent its chunk, returns how it went.

    Raises:
      ValueError: for a chunk that is too short or not finite.
    """
    watch, actions, chunks = Stopwatch(), [], 0
    limit = protocol.limit(trial.suite)
    with watch("reset"):
        state = simulator.begin(trial, protocol)
    while True:
        with watch("render"):
            images = simulator.render()
        shown = Observations(images[None], [simulator.instruction], state[None])
        chunk = check_chunk((yield shown), protocol.execute)
        chunks += 1
        for action in chunk[: protocol.execute]:
            with watch("physics"):
                state = simulator.step(action)
                success = simulator.success()
            actions.append(action)
            if success or len(actions) == limit:
                seconds = dict(watch.seconds)
                return Played(success, np.stack(actions), chunks, simulator.snapshot(), seconds)


def film(
    simulator: Simulator, trial: Trial, protocol: EvaluationProtocol, played: Played, every: int
) -> list[UInt8[np.ndarray, "c h w 3"]]:
    """Plays an episode's actions again and renders every `every`-th moment and the last one.

    Raises:
      RuntimeError: if the simulator ends elsewhere than the first time.
    """
    simulator.begin(trial, protocol)
    frames = [simulator.render()]
    for number, action in enumerate(played.actions, 1):
        simulator.step(action)
        if number % every == 0 or number == len(played.actions):
            frames.append(simulator.render())
    if not np.array_equal(simulator.snapshot(), played.final):
        raise RuntimeError(f"{trial}: its actions, played again, lead elsewhere")
    return frames


def check_chunk(chunk: Any, execute: int) -> Float[np.ndarray, "t 7"]:
    """Returns a chunk as float32 [T, 7] with T >= `execute`, or raises a ValueError."""
    chunk = np.asarray(chunk, np.float32)
    if chunk.ndim != 2 or chunk.shape[1] != 7 or len(chunk) < execute:
        raise ValueError(f"a chunk must have shape [{execute} or more, 7], got {chunk.shape}")
    if not np.isfinite(chunk).all():
        raise ValueError("a chunk must be finite, got NaN or inf from the policy")
    return chunk
