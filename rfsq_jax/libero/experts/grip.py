"""Whether a thing is still in the hand, and whether the hand still moves.

World frame, metres.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.scene import Scene

SLIPPED = 0.035
"""A held thing that moved this far in the hand is lost."""
CLINGS = 0.02
"""A released thing that moved less than this in the hand has not left it."""
STILL = 0.0012
"""Motion in a step below which the hand counts as still."""


class Grip:
    """Where a thing was in the hand when the fingers had closed."""

    def __init__(self, scene: Scene, thing: str) -> None:
        self._scene, self._thing = scene, thing
        self._offset = np.zeros(3)

    def take(self, hand: Float64[np.ndarray, " 3"]) -> None:
        """Notes where the thing is in a hand at `hand` [3] that has just closed."""
        self._offset = self._in_hand(hand)

    def slip(self, hand: Float64[np.ndarray, " 3"]) -> float:
        """Returns how far the thing has moved in the hand, now at `hand` [3], metres."""
        return float(np.linalg.norm(self._in_hand(hand) - self._offset))

    def drift(self, hand: Float64[np.ndarray, " 3"]) -> float:
        """Returns how far it has moved to or from the hand; turning with it does not count."""
        return float(abs(np.linalg.norm(self._in_hand(hand)) - np.linalg.norm(self._offset)))

    def clings(self, hand: Float64[np.ndarray, " 3"]) -> bool:
        """Whether the thing has not left the open hand, as corners wedged on a finger may."""
        return self.slip(hand) < CLINGS

    def _in_hand(self, hand: np.ndarray) -> Float64[np.ndarray, " 3"]:
        return hand - self._scene.position(self._thing)


class Stillness:
    """For how many steps the hand has not moved."""

    def __init__(self) -> None:
        self.steps = 0
        self._last = np.zeros(3)

    def watch(self, hand: Float64[np.ndarray, " 3"]) -> None:
        """Takes in where the hand is now: [3]; call it once a step."""
        moved = np.linalg.norm(hand - self._last)
        self.steps = self.steps + 1 if moved < STILL else 0
        self._last = hand.copy()
