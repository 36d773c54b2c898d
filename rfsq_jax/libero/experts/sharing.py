"""Puts several things side by side on one surface.

Axes: P surface points · world frame, metres.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.experts.placing import Placing
from rfsq_jax.libero.scene import Scene

GAP = 0.004
"""What is left free between neighbours."""
CARELESS = 0.3
"""What part of the style's sloppiness neighbours allow."""


class Sharing(Placing):
    """One of several places in a row."""

    def __init__(
        self,
        scene: Scene,
        thing: str,
        target: str,
        sharers: Sequence[str],
        *,
        offset: tuple[float, float],
        clearance: float,
    ) -> None:
        """Describes a placement, see `Placing`.

        Args:
          scene: where.
          thing: what is placed.
          target: a region.
          sharers: all things that go there, in order, `thing` among them.
          offset: x and y of the placement's error, metres.
          clearance: how far above other things it is carried, metres.
        """
        careful = (CARELESS * offset[0], CARELESS * offset[1])
        super().__init__(scene, thing, target, offset=careful, clearance=clearance)
        points = [scene.points(name) for name in sharers]
        places = row_places(points)
        self._place = places[list(sharers).index(thing)]

    def _middle(self) -> Float64[np.ndarray, " 3"]:
        middle = super()._middle()
        middle[:2] += self._place
        return middle


def row_places(
    things: Sequence[Float64[np.ndarray, "_ 3"]],
) -> list[Float64[np.ndarray, " 2"]]:
    """Returns where in a row along their narrow side things stand, from its middle.

    Args:
      things: surface samples float64 [P, 3] of each.

    Returns:
      float64 [2] for each: the first stands farthest along x, or y.
    """
    extents = np.stack([np.ptp(points[:, :2], axis=0) for points in things])
    axis = int(extents.max(axis=0).argmin())
    widths = extents[:, axis] + GAP
    ends = np.cumsum(widths)
    centres = 0.5 * ends[-1] - (ends - 0.5 * widths)
    return [np.eye(2)[axis] * centre for centre in centres]
