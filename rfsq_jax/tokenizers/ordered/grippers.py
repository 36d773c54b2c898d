"""Tokens of grippers: the whole pattern of a command over a chunk is one word of a table.

A gripper takes one of two commands at every step and seldom switches, so patterns of few switches
are nearly all that occur: with at most two there are 58 words over 8 steps, 242 over 16, 994 over
32. A pattern that the table lacks becomes the word that differs at the fewest steps.

Axes: B chunks · T steps of a chunk · P grippers · W words · C = T * P.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
from jaxtyping import Bool, Float, Int

LARGEST_TABLE = 2048
"""Words at most, so that the id also says in which of two ways the rest of the chunk is coded."""
FEWEST_SWITCHES = 2


def num_words(horizon: int, switches: int) -> int:
    """How many patterns have at most that many switches: places are chosen, and the first step."""
    return 2 * sum(math.comb(horizon - 1, count) for count in range(min(switches, horizon - 1) + 1))


def most_switches(horizon: int) -> int:
    """The most switches whose words fit in a table, at least 0."""
    fitting = [n for n in range(horizon) if num_words(horizon, n) <= LARGEST_TABLE]
    return max(fitting, default=0)


def fit_switches(patterns: Bool[np.ndarray, "b t"]) -> int:
    """The fewest switches, from two on, with which all of the patterns are words, if that fits."""
    horizon = patterns.shape[1]
    seen = int((patterns[:, 1:] != patterns[:, :-1]).sum(axis=1).max(initial=0))
    return min(max(seen, FEWEST_SWITCHES), most_switches(horizon))


@functools.lru_cache
def words(horizon: int, switches: int) -> Bool[np.ndarray, "w t"]:
    """All patterns with at most that many switches, fewest first; True is the higher command."""
    table = []
    for count in range(min(switches, horizon - 1) + 1):
        for places in itertools.combinations(range(1, horizon), count):
            steps = np.zeros(horizon, np.int64)
            steps[list(places)] = 1
            low = np.cumsum(steps) % 2 == 1
            table += [low, ~low]
    return np.stack(table)


def encode(patterns: Bool[np.ndarray, "b t"], switches: int) -> Int[np.ndarray, " b"]:
    """The word nearest to each pattern; of equally near ones that of fewer switches."""
    table = words(patterns.shape[1], switches)
    agreement = _signs(patterns) @ _signs(table).T
    return agreement.argmax(axis=1).astype(np.int32)


def decode(ids: Int[np.ndarray, " b"], horizon: int, switches: int) -> Bool[np.ndarray, "b t"]:
    """The pattern of each word."""
    return words(horizon, switches)[ids]


def context(patterns: Bool[np.ndarray, "b t p"]) -> Float[np.ndarray, "b c"]:
    """What networks are told of all grippers: the signs of a chunk's commands in one row."""
    return _signs(patterns).reshape(len(patterns), -1)


def _signs(patterns: Bool[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    return np.where(patterns, np.float32(1), np.float32(-1))
