"""How far a success rate can be trusted, and whether two policies differ."""

from __future__ import annotations

import dataclasses
import math

from scipy.stats import binom

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: two-sided 95 %."""


@dataclasses.dataclass(frozen=True)
class Paired:
    """Two policies on the same episodes.

    Attributes:
      both: episodes that both solved.
      first: only the first did.
      second: only the second did.
      neither: nobody did.
      difference: rate of the second minus rate of the first.
      interval: of the difference, 95 %, after Agresti and Min (2005).
      p_value: McNemar's test, exact, two-sided.
    """

    both: int
    first: int
    second: int
    neither: int
    difference: float
    interval: tuple[float, float]
    p_value: float


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a rate.

    Raises:
      ValueError: unless 0 <= successes <= trials and trials > 0.
    """
    if not (trials > 0 and 0 <= successes <= trials):
        raise ValueError(f"successes must be in 0..trials and trials > 0: {successes}, {trials}")
    rate, weight = successes / trials, Z95**2 / trials
    centre = (rate + weight / 2) / (1 + weight)
    half = Z95 * math.sqrt(rate * (1 - rate) / trials + weight / (4 * trials)) / (1 + weight)
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return low, high


def compare(first: list[bool], second: list[bool]) -> Paired:
    """Compares two policies episode by episode.

    Args:
      first: success of one policy.
      second: success of the other on the same episodes, in the same order.

    Raises:
      ValueError: for different lengths, or no episode.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"expected as many episodes of both, got {len(first)} and {len(second)}")
    pairs = list(zip(first, second, strict=True))
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    return Paired(
        both=pairs.count((True, True)),
        first=only_first,
        second=only_second,
        neither=pairs.count((False, False)),
        difference=(only_second - only_first) / len(pairs),
        interval=_agresti_min(only_first, only_second, len(pairs)),
        p_value=mcnemar(only_first, only_second),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value: are episodes that one policy alone solves shared out by a coin?"""
    discordant = only_first + only_second
    return min(1.0, 2 * float(binom.cdf(min(only_first, only_second), discordant, 0.5)))


def _agresti_min(only_first: int, only_second: int, count: int) -> tuple[float, float]:
    """The Wald interval after half an episode is added to each of the four cells."""
    difference = (only_second - only_first) / (count + 2)
    spread = only_first + only_second + 1 - (only_second - only_first) ** 2 / (count + 2)
    half = Z95 * math.sqrt(spread) / (count + 2)
    return max(-1.0, difference - half), min(1.0, difference + half)
