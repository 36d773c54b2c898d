"""The chunks of a comparison: training and held-out episodes of everything that is named.

Axes: B chunks · T steps of a chunk · A action dims.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from eval.studies.report_card.config import TokenizersConfig
from eval.studies.token_statistics import adjacency
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.data.episodes import Episode, episode_chunks, split_episodes
from rfsq_jax.data.readers.recorded_actions import ActionSequence, read_actions
from rfsq_jax.data.readers.rlds import BRIDGE, LIBERO, RldsFields, read_rlds
from rfsq_jax.data.readers.tfds import find_shards
from rfsq_jax.libero.demonstrations.bundled import bundled_suites, load_bundled
from rfsq_jax.runs.checks import require

RUN = 50
"""Neighbouring chunks that a sample keeps together, for statistics of chunks one step apart."""


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut:
    """What every tokenizer is measured on.

    Attributes:
      chunks: float32 [B, T, A], robot units, every window of held-out episodes in order.
      adjacent: bool [B - 1], whether chunk i + 1 starts one step after chunk i.
      space: of the training episodes; gives the unit of the normalised errors.
    """

    chunks: Float[np.ndarray, "b t a"]
    adjacent: Bool[np.ndarray, " pairs"]
    space: ActionSpace

    def sample(self, most: int) -> Int[np.ndarray, " rows"]:
        """Returns the places of at most `most` chunks, see `spread_runs`."""
        return spread_runs(len(self.chunks), most)


def spread_runs(count: int, most: int) -> Int[np.ndarray, " rows"]:
    """Returns at most `most` of `count` places: runs of neighbours, spread over all."""
    if count <= most:
        return np.arange(count)
    runs = max(1, most // RUN)
    starts = np.linspace(0, count - most // runs, runs).astype(int)
    return np.unique(starts[:, None] + np.arange(most // runs))


def load_chunks(
    config: TokenizersConfig, horizon: int
) -> tuple[Float[np.ndarray, "m t a"], HeldOut]:
    """Returns training chunks and what is held out; the split is by episode, as train.ae's is.

    Raises:
      FileNotFoundError, ValueError: see `load_episodes`; if a part has no episode long enough.
    """
    train, rest = split_episodes(load_episodes(config.data), config.held_out, config.split_seed)
    train = _drawn(train, config.fit_episodes, config.split_seed)
    parts = [[episode_chunks(each.actions, horizon) for each in part] for part in (train, rest)]
    for name, part in zip(("training", "held-out"), parts, strict=True):
        if not any(len(chunks) > 1 for chunks in part):
            need = f"a {name} episode of more than {horizon} steps"
            raise ValueError(f"expected {need}, got {len(part)} that are shorter")
    fitted = np.concatenate(parts[0])
    chunks, adjacent = np.concatenate(parts[1]), adjacency([len(part) for part in parts[1]])
    held_out = HeldOut(chunks, adjacent, ActionSpace.fit(fitted))
    return fitted, _subset(held_out, held_out.sample(config.curve_chunks))


def _drawn(
    episodes: list[ActionSequence | Episode], count: int | None, seed: int
) -> list[ActionSequence | Episode]:
    """So many of the episodes, in their order."""
    if count is None:
        return episodes
    known = f"1 to {len(episodes)}, the episodes that are not held out"
    require(count <= len(episodes), "fit_episodes", known, count)
    places = np.random.default_rng(seed).permutation(len(episodes))[:count]
    return [episodes[place] for place in np.sort(places)]


def load_episodes(names: Sequence[str]) -> list[ActionSequence | Episode]:
    """Returns the episodes of all that is named, in order.

    Raises:
      FileNotFoundError: if there is no such suite, file or folder.
      ValueError: if one cannot be read, or they differ in their number of dims.
    """
    found: list[ActionSequence | Episode] = []
    for name in names:
        episodes = _read(name)
        dims, wanted = episodes[0].actions.shape[1], (found or episodes)[0].actions.shape[1]
        if dims != wanted:
            raise ValueError(
                f"data must all have {wanted} dims, as {names[0]} has, got {dims} in {name}"
            )
        found += episodes
    return found


def _read(name: str) -> Sequence[ActionSequence | Episode]:
    if name in bundled_suites():
        return load_bundled(name)
    if Path(name).is_dir():
        return read_rlds(Path(name), fields=_fields(Path(name)))
    if not Path(name).suffix:
        known = ", ".join(bundled_suites())
        raise FileNotFoundError(f"data {name} must be a file, an RLDS folder or one of {known}")
    return read_actions(Path(name))


def _fields(folder: Path) -> RldsFields:
    """BridgeData's where the folder is laid out so, else LIBERO's."""
    try:
        find_shards(folder, "train", BRIDGE.widths())
    except ValueError:
        return LIBERO
    return BRIDGE


def _subset(held_out: HeldOut, rows: Int[np.ndarray, " rows"]) -> HeldOut:
    return HeldOut(held_out.chunks[rows], adjacent_rows(held_out, rows), held_out.space)


def adjacent_rows(held_out: HeldOut, rows: Int[np.ndarray, " rows"]) -> Bool[np.ndarray, " pairs"]:
    """Which neighbours in a list of ascending places start one step apart."""
    return (np.diff(rows) == 1) & held_out.adjacent[rows[:-1]]
