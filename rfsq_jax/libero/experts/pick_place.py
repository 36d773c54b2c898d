"""Picks a thing up and puts it on or into another, again if it did not work.

World frame, metres; one step is 50 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.environment import RobotState
from rfsq_jax.libero.experts.phases import CLOSE, FOLLOWING, OPEN, Aim, Phase, tilt_in
from rfsq_jax.libero.experts.picking import SLIPPED, Picking
from rfsq_jax.libero.experts.placing import Placing
from rfsq_jax.libero.experts.servo import Servo, rotation_error
from rfsq_jax.libero.experts.style import Style

DEEPER = 0.02
"""How much lower a thing is taken that has not left the open hand."""
TURNED = 0.1
"""Radians from its yaw at which a hand counts as turned."""
STALLED = 10
"""Steps without motion after which the hand will not come nearer."""
PATIENCE = 45
"""Steps after which it is not coming nearer either."""
LOW_LIFT = 0.03
"""How far a thing is lifted before it comes out from under something."""
SLOW_BELOW = 0.06
"""Distance from the grasp at which the hand slows down."""
STILL = 0.0012
"""Motion in a step below which the hand counts as still."""

Place = TypeVar("Place", bound=Placing)


class PickPlace(Generic[Place]):
    """One thing, one target; a phase machine around a servo."""

    def __init__(
        self,
        picking: Picking,
        placing: Place,
        style: Style,
        holds: Callable[[], bool] | None = None,
    ) -> None:
        """Describes the goal; `holds` says whether it holds now, by default the geometry does."""
        self.phase = Phase.REACH
        self._picking, self._placing, self._style = picking, placing, style
        self._holds = holds
        self._servo = Servo(style)
        self._steps = self._waited = self._still = self._clung = 0
        self._anchor, self._last_hand = np.zeros(3), np.zeros(3)
        self._fingers = 0.0
        self._travel_height = 0.0
        self._aside = np.zeros(2)

    @property
    def done(self) -> bool:
        """Whether the thing lies where it should and the hand has left it."""
        by_luck = self._holds is not None and self.phase is Phase.REACH and self.attempts > 0
        return self.phase is Phase.DONE or (by_luck and self._is_placed())

    @property
    def attempts(self) -> int:
        """How many grasps have gone wrong."""
        return self._picking.attempts

    @property
    def is_delicate(self) -> bool:
        """Whether a push would spoil the present phase rather than be corrected."""
        return self.phase in (Phase.CLOSE, Phase.LOWER, Phase.RELEASE)

    def act(self, robot: RobotState) -> Float64[np.ndarray, " 7"]:
        """Returns the action for what is observed now: float64 [7]."""
        hand = robot.eef_pos
        if not self._picking.planned:
            self._plan(hand)
        moved = np.linalg.norm(hand - self._last_hand)
        self._still = self._still + 1 if moved < STILL else 0
        self._last_hand = hand.copy()
        if self._lost(hand) or self._blocked(hand):
            self._retry(hand)
        aim = self._aim(hand, robot)
        turn = rotation_error(robot.eef_quat, self._yaw())
        turn = turn + self._tilt() + self._lean()
        action = self._servo(aim.point - hand, turn, speed=aim.speed, gripper=aim.gripper)
        self._steps += 1
        if aim.arrived:
            self._advance(hand)
        return action

    def _plan(self, hand: np.ndarray) -> None:
        placing = self._placing
        self._travel_height = self._picking.plan(hand, room=placing.room, carried=placing.way())

    def _aim(self, hand: np.ndarray, robot: RobotState) -> Aim:
        return AIMS[self.phase](self, hand, robot)

    def _is_placed(self) -> bool:
        return self._placing.is_placed() if self._holds is None else self._holds()

    def _yaw(self) -> float:
        carries = self.phase in (Phase.CARRY, Phase.LOWER, Phase.RELEASE, Phase.RETREAT)
        return self._picking.yaw + (self._placing.turn if carries else 0.0)

    def _lean(self) -> Float64[np.ndarray, " 3"]:
        return self._picking.lean

    def _tilt(self) -> Float64[np.ndarray, " 3"]:
        return tilt_in(self.phase, self._style.tilts) if self.attempts == 0 else np.zeros(3)

    def _reach(self, hand: np.ndarray, robot: RobotState) -> Aim:
        goal = self._picking.point()
        goal[:2] += self._style.hover_offset
        goal[2] = self._travel_height
        to_go = np.linalg.norm(goal[:2] - hand[:2])
        if to_go > 0.04 and hand[2] < goal[2] - 0.03:
            goal[:2] = hand[:2] + 0.25 * (goal[:2] - hand[:2])
        is_open = np.ptp(robot.gripper_qpos) > 0.06
        there = to_go < 0.025 and abs(goal[2] - hand[2]) < 0.03 and is_open
        self._waited += there
        arrived = self._waited > self._style.hover_pause
        return Aim(goal, OPEN, bool(arrived))

    def _descend(self, hand: np.ndarray, robot: RobotState) -> Aim:
        goal = self._picking.point()
        turn = abs(rotation_error(robot.eef_quat, self._picking.yaw)[2])
        beside = np.linalg.norm(goal[:2] - hand[:2]) + 0.05 * max(0.0, turn - 0.1)
        error = np.linalg.norm(goal - hand)
        # A funnel: the hand may only be as low as it is well above the grasp.
        goal[2] += min(max(0.0, 6.0 * (beside - 0.006)), max(0.0, self._travel_height - goal[2]))
        arrived = error < 0.006 or (self._steps > 18 and error < 0.01)
        arrived |= self._stuck
        speed = self._style.descent_speed if error < SLOW_BELOW else 0.9
        return Aim(goal, OPEN, bool(arrived), speed=speed)

    def _close(self, hand: np.ndarray, robot: RobotState) -> Aim:
        fingers = float(np.ptp(robot.gripper_qpos))
        still = abs(fingers - self._fingers) < 0.0008
        self._fingers = fingers
        arrived = (self._steps >= 5 + self._style.close_pause and still) or self._steps > 18
        return Aim(self._anchor, CLOSE, bool(arrived), speed=0.2)

    def _lift(self, hand: np.ndarray, robot: RobotState) -> Aim:
        goal = np.array([*self._anchor[:2], self._travel_height])
        arrived = hand[2] > goal[2] - 0.025
        aside = self._anchor[:2] + self._aside - hand[:2]
        if np.linalg.norm(aside) > 0.02:
            goal = np.array([*(hand[:2] + aside), self._anchor[2] + LOW_LIFT])
        elif self._aside.any():
            goal[:2] += self._aside
        return Aim(goal, CLOSE, bool(arrived))

    def _carry(self, hand: np.ndarray, robot: RobotState) -> Aim:
        goal = np.array([*self._placing.hand_xy(hand), self._travel_height])
        if self._steps % 4 == 0:
            self._travel_height = min(self._travel_height, self._placing.carry_height(hand))
        arrived = np.linalg.norm(goal[:2] - hand[:2]) < 0.02
        if self._placing.turn:
            turn = rotation_error(robot.eef_quat, self._yaw())[2]
            arrived = (arrived and abs(turn) < TURNED) or self._steps > 2 * PATIENCE
        return Aim(goal, CLOSE, bool(arrived))

    def _lower(self, hand: np.ndarray, robot: RobotState) -> Aim:
        extra = self._style.release_height - DEEPER * self._clung
        height = self._placing.release_height(hand, extra)
        goal = np.array([*self._placing.hand_xy(hand), height])
        beside = np.linalg.norm(goal[:2] - hand[:2])
        arrived = (beside < 0.01 and hand[2] < goal[2] + 0.006) or self._stuck
        goal[2] = min(goal[2] + max(0.0, 4.0 * (beside - 0.012)), self._travel_height)
        return Aim(goal, CLOSE, bool(arrived), speed=0.8)

    def _release(self, hand: np.ndarray, robot: RobotState) -> Aim:
        is_open = np.ptp(robot.gripper_qpos) > 0.074
        arrived = is_open and self._steps >= 5 + self._style.release_pause
        return Aim(self._anchor, OPEN, bool(arrived) or self._steps > 16, speed=0.2)

    def _retreat(self, hand: np.ndarray, robot: RobotState) -> Aim:
        return Aim(hand + np.array([0.0, 0.0, 0.06]), OPEN, self._steps >= 10)

    def _stay(self, hand: np.ndarray, robot: RobotState) -> Aim:
        return Aim(hand.copy(), OPEN, False)

    def _lost(self, hand: np.ndarray) -> bool:
        holds = self.phase in (Phase.LIFT, Phase.CARRY, Phase.LOWER)
        return holds and self._slip(hand) > SLIPPED

    def _slip(self, hand: np.ndarray) -> float:
        return self._picking.slip(hand)

    def _blocked(self, hand: np.ndarray) -> bool:
        """Whether something keeps the hand from its grasp; a planned miss is followed through."""
        if self._holds is not None and self.phase in (Phase.LIFT, Phase.CARRY):
            return self._steps > 2 * PATIENCE
        if self.phase is not Phase.DESCEND or self._picking.misses:
            return False
        beyond = np.linalg.norm(self._picking.point() - hand)
        return self._stuck and bool(beyond > 0.02)

    @property
    def _stuck(self) -> bool:
        return self._still > STALLED or self._steps > PATIENCE

    def _retry(self, hand: np.ndarray) -> None:
        self._clung = 0
        self._picking.give_up()
        self._plan(hand)
        self._enter(Phase.REACH, hand)

    def _advance(self, hand: np.ndarray) -> None:
        """Goes on to the next phase."""
        if self.phase is Phase.CLOSE:
            self._picking.take(hand)
            self._placing.look_around()
            self._aside = self._picking.way_out(self._placing.obstacles, hand)
            self._travel_height = max(hand[2] + 0.06, self._placing.carry_height(hand))
        clings = self._clung < 2 and self._picking.clings(hand) and not self._is_placed()
        if self.phase is Phase.RELEASE and clings:
            self._clung += 1
            self._enter(Phase.LOWER, hand)
        elif self.phase is Phase.RETREAT and not self._is_placed():
            self._retry(hand)
        else:
            self._enter(FOLLOWING[self.phase], hand)

    def _enter(self, phase: Phase, hand: np.ndarray) -> None:
        self.phase, self._steps, self._anchor = phase, 0, hand.copy()
        if phase is Phase.CLOSE and np.linalg.norm(self._picking.point() - hand) < 0.015:
            self._anchor = self._picking.point()
        self._waited = self._still = 0
        self._servo.settle()


AIMS = {
    Phase.REACH: PickPlace._reach,
    Phase.DESCEND: PickPlace._descend,
    Phase.CLOSE: PickPlace._close,
    Phase.LIFT: PickPlace._lift,
    Phase.CARRY: PickPlace._carry,
    Phase.LOWER: PickPlace._lower,
    Phase.RELEASE: PickPlace._release,
    Phase.RETREAT: PickPlace._retreat,
    Phase.DONE: PickPlace._stay,
}
