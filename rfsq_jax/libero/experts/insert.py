"""Puts a thing through the open side of a covered place: down before it, in, down, back out.

World frame, metres; one step is 50 ms.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.environment import RobotState
from rfsq_jax.libero.experts.covered_place import CARELESS, OVER_FLOOR, Insertion
from rfsq_jax.libero.experts.phases import CLOSE, OPEN, Aim, Phase
from rfsq_jax.libero.experts.pick_place import PATIENCE, STALLED, PickPlace
from rfsq_jax.libero.experts.picking import Picking
from rfsq_jax.libero.experts.style import Style
from rfsq_jax.libero.joints import turn_about
from rfsq_jax.libero.scene import Scene

ON_FLOOR = 0.002
BACK_STEPS = 14
LEVELLED = 0.008
ENTERED = 0.01


class Insert(PickPlace):
    """One thing, one place under a roof."""

    def __init__(
        self,
        scene: Scene,
        picking: Picking,
        placing: Insertion,
        style: Style,
        holds: Callable[[], bool] | None = None,
    ) -> None:
        """Describes the goal, see `PickPlace`."""
        super().__init__(scene, picking, placing, style, holds)
        self._insertion = placing

    def _aim(self, hand: np.ndarray, robot: RobotState) -> Aim:
        if self.phase is Phase.LOWER:
            return self._go_in(hand)
        if self.phase is Phase.RETREAT:
            out = np.array([*self._insertion.outward, 0.0])
            return Aim(hand + 0.06 * out, OPEN, self._steps >= BACK_STEPS)
        return super()._aim(hand, robot)

    def _go_in(self, hand: np.ndarray) -> Aim:
        placing = self._insertion
        beside = np.linalg.norm(placing.hand_xy(hand) - hand[:2])
        height = placing.level(hand, OVER_FLOOR)
        if not placing.enters:
            placing.enters = bool(abs(height - hand[2]) < LEVELLED and beside < ENTERED)
            beside = np.inf
        if beside < ENTERED or self._steps > 2 * PATIENCE:
            height = placing.level(hand, ON_FLOOR)
        arrived = beside < 2 * ENTERED and hand[2] < height + 0.004
        arrived |= self._stillness.steps > STALLED and placing.enters
        goal = np.array([*placing.hand_xy(hand), height])
        return Aim(goal, CLOSE, bool(arrived), speed=0.6)

    def _lean(self) -> Float64[np.ndarray, " 3"]:
        turned = turn_about(np.array([0.0, 0.0, 1.0]), self._yaw() - self._picking.yaw)
        return turned @ self._picking.lean

    def _tilt(self) -> Float64[np.ndarray, " 3"]:
        return CARELESS * super()._tilt()
