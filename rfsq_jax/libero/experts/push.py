"""Slides a flat thing over the table, held by its rim.

Pushed from behind it would swerve at the first thing it meets, and drawn from inside its rim it
would tip over it.

World frame, metres; one step is 50 ms.
"""

from __future__ import annotations

import numpy as np

from rfsq_jax.libero.experts.phases import Phase
from rfsq_jax.libero.experts.pick_place import PickPlace

LIFTED = 0.003
"""How far the hand rises so that the fingers do not scrape over the table."""


class Push(PickPlace):
    """One flat thing, one region of the table; the goal itself says whether it is there."""

    def _advance(self, hand: np.ndarray) -> None:
        super()._advance(hand)
        if self.phase is Phase.LIFT:
            self._travel_height = float(hand[2]) + LIFTED

    def _slip(self, hand: np.ndarray) -> float:
        """How far the thing has moved away from the hand; turning about it does no harm."""
        return self._grip.drift(hand)
