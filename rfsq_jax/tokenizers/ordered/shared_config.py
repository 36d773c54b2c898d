"""The shared path's config, and how its 4,096 ids divide into grids and escapes.

Axes: P grids · G coefficients of a grid · T frequencies · A action dims.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Int

from rfsq_jax.runs.checks import MAX_DEPTH, require, require_range
from rfsq_jax.runs.records import require_types

NUM_IDS = 4096
HORIZONS = (8, 16, 32, 64)
"""There is one network for each; other chunks use the next larger one."""
GRIDS = (
    (9, 7, 7, 7),
    (3, 3, 3, 3, 3, 3, 3),
    (7, 5, 3, 3, 3, 3),
    (5, 5, 5, 5, 5),
    (7, 7, 7, 3, 3),
    (13, 9, 5, 5),
    (21, 7, 7, 3),
    (15, 15, 13),
    (25, 11, 11),
    (63, 7, 7),
    (55, 55),
)
"""From coefficients that are alike to one or two that stand out; they leave 971 ids to escapes."""
SHORT_GRIDS = (
    (9, 9, 9, 5),
    (5, 3, 3, 3, 3, 3, 3),
    (5, 5, 5, 3, 3, 3),
    (9, 5, 3, 3, 3, 3),
    (5, 5, 5, 5, 5),
    (7, 7, 5, 5, 3),
    (9, 9, 5, 3, 3),
    (15, 9, 9, 3),
    (27, 9, 5, 3),
    (15, 15, 15),
    (27, 15, 9),
    (45, 9, 9),
    (59, 59),
)
"""Alike, for short chunks: few coefficients need no more than 421 escapes."""
MOST_MAGNITUDES = 24
ESCAPE_SPAN = 40
"""What the magnitudes of escapes span, in steps of an eighth of an octave: a factor of 32."""
FIRST_MAGNITUDE = 10
ONLY_MAGNITUDE = 13
"""The least of them, alike, over the deviation: a factor of 2.4; of 3 if it is the only one."""


@dataclasses.dataclass(frozen=True)
class SharedConfig:
    """The quantiser and its network.

    Attributes:
      horizon: frequencies that the network knows.
      hidden_dim: width of the network.
      num_blocks: residual blocks, each with a look at the other dims.
      grids: levels of the coefficients that one token refines, widest first; the decoder takes the
        grid that promises most.
    """

    horizon: int = 8
    hidden_dim: int = 128
    num_blocks: int = 3
    grids: tuple[tuple[int, ...], ...] = GRIDS

    @classmethod
    def of(cls, horizon: int) -> SharedConfig:
        """The usual sizes for a horizon."""
        return cls(horizon, grids=SHORT_GRIDS if horizon <= HORIZONS[0] else GRIDS)

    def __post_init__(self) -> None:
        require_types(self)
        require_range(self, 1, HORIZONS[-1], "horizon")
        require_range(self, 1, 256, "hidden_dim")
        require_range(self, 1, MAX_DEPTH, "num_blocks")
        require(len(self.grids) > 0, "grids", "at least one", self.grids)
        for grid in self.grids:
            odd = len(grid) > 0 and all(1 < levels < 64 and levels % 2 for levels in grid)
            require(odd, "grids", "odd numbers of levels from 3 to 63", grid)
            descending = grid == tuple(sorted(grid, reverse=True))
            require(descending, "grids", "levels in descending order", grid)
        fits = self.num_regular <= NUM_IDS - 2
        require(fits, "grids", f"of at most {NUM_IDS - 2} values each", self.grids)

    @property
    def num_regular(self) -> int:
        """Ids of levels; those above are escapes."""
        return max(math.prod(grid) for grid in self.grids)

    @property
    def num_refined(self) -> int:
        """Coefficients of the longest grid."""
        return max(map(len, self.grids))

    @property
    def radices(self) -> tuple[int, ...]:
        """The numbers of levels that occur, ascending; 1 stands for places that a grid lacks."""
        return (1, *sorted({levels for grid in self.grids for levels in grid}))

    @property
    def grid_radices(self) -> Int[np.ndarray, "p g"]:
        """The index into `radices` of each place of each grid."""
        padded = (grid + (1,) * (self.num_refined - len(grid)) for grid in self.grids)
        return np.array([[self.radices.index(each) for each in grid] for grid in padded], np.int32)

    @property
    def worth(self) -> Int[np.ndarray, "2 p g"]:
        """The share of a coefficient's variance that each place of each grid removes, of 2**10.

        Of Gaussians first, then of uniform ones.
        """
        levels = np.array(self.radices)
        left = np.stack([[_distortion(each) for each in self.radices], levels**-2.0])
        return np.round((1.0 - left) * 2**10)[:, self.grid_radices].astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Escapes:
    """The ids of a [T, A] chunk that set one coefficient: coefficient x sign x magnitude.

    Attributes:
      coded: how many coefficients can be set; low frequencies come first.
      magnitudes: of each.
      spacing: of magnitudes, in eighths of an octave.
    """

    coded: int
    magnitudes: int
    spacing: int

    @classmethod
    def of(cls, config: SharedConfig, horizon: int, action_dim: int) -> Escapes:
        """As many magnitudes as there are ids for."""
        room, wanted = (NUM_IDS - config.num_regular) // 2, horizon * action_dim
        magnitudes = int(np.clip(room // wanted, 1, MOST_MAGNITUDES))
        spacing = int(np.clip(ESCAPE_SPAN // magnitudes, 2, 10))
        return cls(min(wanted, room // magnitudes), magnitudes, spacing)

    @property
    def count(self) -> int:
        """Ids that differ; those above fold onto them."""
        return self.coded * 2 * self.magnitudes

    @property
    def first(self) -> int:
        """log2 of the least magnitude over the deviation, in eighths."""
        return FIRST_MAGNITUDE if self.magnitudes > 1 else ONLY_MAGNITUDE

    @property
    def error_steps(self) -> tuple[int, ...]:
        """log2 of what each magnitude is off by, over it, in eighths.

        Uniform between its neighbours; the last stands for all that is beyond, too, so that several
        escapes reach any distance.
        """
        if self.magnitudes == 1:
            return (-6,)
        half = (self.spacing + 1) / 16
        between = round(8 * math.log2((2.0**half - 2.0**-half) / math.sqrt(12)))
        return (between,) * (self.magnitudes - 1) + (0,)


def _distortion(levels: int) -> float:
    """Mean squared error of the best uniform quantiser of a unit Gaussian, closely."""
    return 1.0 if levels == 1 else 1.45 * levels**-1.74
