"""Whether chunks that are near each other stay near, decoded and as tokens.

After ActionPiece's preservation of neighbour ranks (PRC), here as Spearman's correlation of
distances from each chunk to its nearest neighbours.

Axes: B chunks · K neighbours of each · F numbers of a flattened chunk · N positions of ids.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from eval.studies.token_statistics import ABSENT

NEIGHBOURS = 32


@dataclasses.dataclass(frozen=True)
class NeighbourRanks:
    """Mean rank correlation with the distances between the actions.

    Attributes:
      decoded: of the distances between the decoded actions.
      hamming: of how many tokens differ.
      prefix: of how many tokens follow the first that differs.
    """

    decoded: float
    hamming: float
    prefix: float


def neighbour_ranks(
    actions: Float[np.ndarray, "b f"],
    decoded: Float[np.ndarray, "b f"],
    ids: Int[np.ndarray, "b n"],
    count: int = NEIGHBOURS,
) -> NeighbourRanks:
    """Measures all three; actions normalised."""
    near = nearest(actions, count)
    distances = _distances_to(actions, near)
    return NeighbourRanks(
        decoded=rank_correlation(distances, _distances_to(decoded, near)),
        hamming=rank_correlation(distances, hamming_distances(ids, near)),
        prefix=rank_correlation(distances, prefix_distances(ids, near)),
    )


def nearest(points: Float[np.ndarray, "b f"], count: int) -> Int[np.ndarray, "b k"]:
    """The places of the `count` nearest other points of each, or of all others."""
    points = points.astype(np.float64)
    squares = (points**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * points @ points.T
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1, kind="stable")[:, : min(count, len(points) - 1)]


def hamming_distances(
    ids: Int[np.ndarray, "b n"], near: Int[np.ndarray, "b k"]
) -> Int[np.ndarray, "b k"]:
    """How many positions differ from each neighbour's; absent differs from any id."""
    return np.stack([(ids != ids[column]).sum(axis=1) for column in near.T], axis=1)


def prefix_distances(
    ids: Int[np.ndarray, "b n"], near: Int[np.ndarray, "b k"]
) -> Int[np.ndarray, "b k"]:
    """How many positions come at or after the first that differs, of the longer sequence."""
    columns = []
    for column in near.T:
        other = ids[column]
        longer = np.maximum((ids != ABSENT).sum(axis=1), (other != ABSENT).sum(axis=1))
        differ = ids != other
        first = np.where(differ.any(axis=1), differ.argmax(axis=1), longer)
        columns.append(longer - first)
    return np.stack(columns, axis=1)


def rank_correlation(one: Float[np.ndarray, "b k"], other: Float[np.ndarray, "b k"]) -> float:
    """Spearman's correlation row by row, averaged; 0 for a row in which one side is all equal."""
    first, second = (rankdata(np.round(each, 9), axis=1) for each in (one, other))
    first, second = (each - each.mean(axis=1, keepdims=True) for each in (first, second))
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(
        np.where(norms > 0, (first * second).sum(axis=1) / np.maximum(norms, 1e-12), 0).mean()
    )


def _distances_to(
    points: Float[np.ndarray, "b f"], near: Int[np.ndarray, "b k"]
) -> Float[np.ndarray, "b k"]:
    columns = [np.linalg.norm(points - points[column], axis=1) for column in near.T]
    return np.stack(columns, axis=1).astype(np.float64)
