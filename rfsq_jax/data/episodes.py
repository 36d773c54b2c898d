"""The one episode type that every reader converts to; its chunks; train and held-out episodes.

Axes: N steps of an episode · A action dims · H, W image · M chunks · T steps of a chunk.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from rfsq_jax.runs.checks import require

ACTION_DIM = 7
STATE_DIM = 8
METRES_PER_ACTION = 0.05
RADIANS_PER_ACTION = 0.5
HORIZON = 8
"""Steps of a chunk in the reference experiment and in OpenVLA-OFT: the default everywhere."""


@dataclasses.dataclass(frozen=True, eq=False)
class Episode:
    """One demonstration in LIBERO's environment convention.

    Attributes:
      actions: float32 [N, A]; translation (1.0 = 0.05 m per step), rotation vector (1.0 = 0.5 rad
        per step), gripper (-1 open, +1 close).
      state: float32 [N, 8] before each action: end-effector position (m), axis-angle (rad),
        the two finger positions (m).
      instruction: what the demonstration does, in words.
      source: where it comes from, for messages and splits.
      images: uint8 [N, H, W, 3] by camera name, upright, if the source has them.
    """

    actions: Float[np.ndarray, "n a"]
    state: Float[np.ndarray, "n 8"]
    instruction: str
    source: str
    images: Mapping[str, UInt8[np.ndarray, "n h w 3"]] | None = None

    def __post_init__(self) -> None:
        check_steps("actions", self.actions, self.source, width=None)
        check_steps("state", self.state, self.source, width=STATE_DIM)
        if len(self.actions) != len(self.state):
            raise ValueError(
                f"{self.source}: actions and state must have the same number of steps, "
                f"got {len(self.actions)} and {len(self.state)}"
            )

    def __len__(self) -> int:
        return len(self.actions)


def check_steps(field: str, values: np.ndarray, source: str, width: int | None) -> None:
    """Raises a ValueError unless values are finite and [N, width]; None stands for any width."""
    if values.ndim != 2 or (width is not None and values.shape[1] != width):
        expected = f"[N, {width or 'A'}]"
        raise ValueError(f"{source}: {field} must have shape {expected}, got {values.shape}")
    if not np.isfinite(values).all():
        step = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise ValueError(f"{source}: {field} must be finite, got NaN or inf at step {step}")


def episode_chunks(
    actions: Float[np.ndarray, "n a"], horizon: int, stride: int = 1
) -> Float[np.ndarray, "m {horizon} a"]:
    """Every window of `horizon` steps, `stride` apart; none if the episode is shorter."""
    if len(actions) < horizon:
        return np.empty((0, horizon, actions.shape[1]), actions.dtype)
    windows = np.lib.stride_tricks.sliding_window_view(actions, horizon, axis=0)
    return np.ascontiguousarray(np.moveaxis(windows[::stride], -1, 1))


def chunk_episodes(
    episodes: Sequence[Episode], horizon: int, stride: int = 1
) -> Float[np.ndarray, "m {horizon} a"]:
    """The chunks of all episodes, in order.

    Raises:
      ValueError: if no episode has `horizon` steps.
    """
    chunks = [episode_chunks(episode.actions, horizon, stride) for episode in episodes]
    if not any(len(part) for part in chunks):
        raise ValueError(
            f"expected an episode of at least {horizon} steps, got {len(chunks)} shorter"
        )
    return np.concatenate(chunks)


@runtime_checkable
class Instructed(Protocol):
    """An episode of any kind that says what it does."""

    @property
    def instruction(self) -> str:
        """What the episode does."""
        ...


AnyEpisode = TypeVar("AnyEpisode", bound=Instructed)


def split_episodes(
    episodes: Sequence[AnyEpisode], fraction: float = 0.1, seed: int = 0
) -> tuple[list[AnyEpisode], list[AnyEpisode]]:
    """Returns (train, held out): about `fraction` of each instruction's episodes are held out.

    Whole ones, so that nothing held out has a trained-on neighbour.

    Raises:
      ValueError: if either part would be empty.
    """
    require(0 < fraction < 1, "fraction", "in (0, 1)", fraction)
    groups: dict[str, list[int]] = defaultdict(list)
    for index, episode in enumerate(episodes):
        groups[episode.instruction].append(index)
    rng = np.random.default_rng(seed)
    held_out = {index for group in groups.values() for index in _choose(group, fraction, rng)}
    train = [episode for index, episode in enumerate(episodes) if index not in held_out]
    rest = [episode for index, episode in enumerate(episodes) if index in held_out]
    if not train or not rest:
        raise ValueError(
            f"expected enough episodes of one instruction to hold out {fraction:.0%}, "
            f"got {len(episodes)} episodes of {len(groups)} instructions"
        )
    return train, rest


def _choose(group: list[int], fraction: float, rng: np.random.Generator) -> list[int]:
    count = round(fraction * len(group)) or int(len(group) > 1)
    return rng.permutation(group)[:count].tolist()
