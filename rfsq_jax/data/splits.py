"""Train and held-out episodes: whole ones, so that nothing held out has a trained-on neighbour."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np


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

    Raises:
      ValueError: if either part would be empty.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be in (0, 1), got {fraction}")
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
