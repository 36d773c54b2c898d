"""Opens, closes and turns what moves on a joint, again if it did not work.

World frame, metres and radians; one step is 50 ms.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.environment import RobotState
from rfsq_jax.libero.experts.grasps import FINGER_REACH
from rfsq_jax.libero.experts.holds import Hold, choose_hold, nearer_turned
from rfsq_jax.libero.experts.phases import CLOSE, OPEN, Aim
from rfsq_jax.libero.experts.placing import PATH_RADIUS
from rfsq_jax.libero.experts.servo import Servo, turn_error
from rfsq_jax.libero.experts.style import Style
from rfsq_jax.libero.joints import Joint
from rfsq_jax.libero.scene import Scene, tallest_near_path

STANDOFF = 0.09
"""How far before its hold the hand stops first."""
LEAD = (0.05, 0.5)
"""How far ahead of a slide (m) or a hinge (rad) the hand aims."""
CONFIRMED = 3
"""Steps for which the goal must hold."""
PATIENCE = 60
"""Steps without progress after which the hold is given up."""
PROGRESS = (0.002, 0.02)
"""What counts as progress of a slide (m) or a hinge (rad)."""
CLOSE_STEPS = 8
BACK_STEPS = 10


class Stage(enum.Enum):
    """What the hand is doing, in order."""

    REACH = enum.auto()
    APPROACH = enum.auto()
    GRIP = enum.auto()
    MOVE = enum.auto()
    LET_GO = enum.auto()
    BACK = enum.auto()
    DONE = enum.auto()


NEXT = dict(zip(list(Stage)[:-1], list(Stage)[1:], strict=True))


class Articulate:
    """Brings one joint to one of its ends, or until the goal holds."""

    def __init__(
        self, scene: Scene, name: str, style: Style, *, far: bool, holds: Callable[[], bool]
    ) -> None:
        """Describes the goal.

        Args:
          scene: where.
          name: a region or a thing that moves on a joint.
          style: how the hand moves.
          far: whether the joint goes away from rest (open, on) or back to it.
          holds: whether the goal holds now.

        Raises:
          ValueError: if nothing of `name` moves.
        """
        joint = scene.joint(name)
        if joint is None:
            raise ValueError(f"goal must name something that moves on a joint, got {name!r}")
        self.phase = Stage.REACH
        self.attempts = 0
        self._scene, self._name, self._style, self._holds = scene, name, style, holds
        self._towards = joint.far_end if far else joint.near_end
        self._servo = Servo(style)
        self._hold: Hold | None = None
        self._start = self._best = joint.value
        self._travel_height = 0.0
        self._anchor, self._hand = np.zeros(3), np.eye(3)
        self._steps = self._waited = self._idle = self._confirmed = 0

    @property
    def done(self) -> bool:
        """Whether the goal holds and the hand has left."""
        return self.phase is Stage.DONE

    @property
    def is_delicate(self) -> bool:
        """Whether a push would spoil the present phase rather than be corrected."""
        return self.phase in (Stage.APPROACH, Stage.GRIP, Stage.LET_GO)

    def act(self, robot: RobotState) -> Float64[np.ndarray, " 7"]:
        """Returns the action for what is observed now: float64 [7]."""
        hand = robot.eef_pos
        joint = self._joint()
        if self._hold is None:
            self._plan(hand, joint, robot.eef_quat)
        turn = turn_error(robot.eef_quat, self._hand)
        aim = AIMS[self.phase](self, hand, joint, float(np.linalg.norm(turn)))
        turn = turn_error(robot.eef_quat, self._hand)
        action = self._servo(aim.point - hand, turn, speed=aim.speed, gripper=aim.gripper)
        self._steps += 1
        if aim.arrived:
            self._advance(hand)
        return action

    def _joint(self) -> Joint:
        joint = self._scene.joint(self._name)
        if joint is None:
            raise RuntimeError(f"{self._name} has lost its joint")
        return joint

    def _plan(self, hand: np.ndarray, joint: Joint, quaternion: np.ndarray) -> None:
        points = self._scene.part_points(joint.body)
        self._hold = choose_hold(points, joint, towards=self._towards)
        if self._hold.coming == CLOSE:
            self._hold = nearer_turned(self._hold, quaternion)
        self._start = self._best = joint.value
        self._hand = self._hold.hand
        tallest = tallest_near_path(self._scene.obstacles(), hand, self._before(), PATH_RADIUS)
        clear = tallest + FINGER_REACH + self._style.carry_height
        self._travel_height = float(max(self._before()[2], clear))

    def _before(self) -> Float64[np.ndarray, " 3"]:
        return self._held().point - STANDOFF * self._held().approach

    def _held(self) -> Hold:
        if self._hold is None:
            raise RuntimeError("a hold must be chosen before it is used")
        return self._hold

    def _reach(self, hand: np.ndarray, joint: Joint, turn: float) -> Aim:
        goal = self._before()
        goal[:2] += self._style.hover_offset
        beside = np.linalg.norm(goal[:2] - hand[:2])
        there = np.linalg.norm(goal - hand) < 0.025 and turn < 0.12
        self._waited += bool(there)
        if beside > 0.03 + 0.3 * max(0.0, self._travel_height - hand[2]):
            # Up first, then across, then down.
            if hand[2] < self._travel_height - 0.03:
                goal[:2] = hand[:2] + 0.25 * (goal[:2] - hand[:2])
            goal[2] = self._travel_height
        arrived = self._waited > self._style.hover_pause or self._steps > 2 * PATIENCE
        return Aim(goal, self._held().coming, bool(arrived))

    def _approach(self, hand: np.ndarray, joint: Joint, turn: float) -> Aim:
        hold = self._held()
        goal = hold.point.copy()
        off = goal - hand
        ahead = float(off @ hold.approach)
        beside = float(np.linalg.norm(off - ahead * hold.approach))
        goal -= min(STANDOFF, max(0.0, 5.0 * (beside - 0.006))) * hold.approach
        arrived = np.linalg.norm(off) < 0.007 or self._steps > 40
        return Aim(goal, hold.coming, bool(arrived), speed=self._style.descent_speed)

    def _grip(self, hand: np.ndarray, joint: Joint, turn: float) -> Aim:
        arrived = self._held().coming == CLOSE or self._steps >= CLOSE_STEPS
        return Aim(self._anchor, CLOSE, bool(arrived), speed=0.2)

    def _move(self, hand: np.ndarray, joint: Joint, turn: float) -> Aim:
        hold = self._held()
        lead = np.clip(self._towards - joint.value, -LEAD[not joint.slides], LEAD[not joint.slides])
        if abs(joint.value - self._best) > PROGRESS[not joint.slides]:
            self._best, self._idle = joint.value, 0
        self._idle += 1
        self._confirmed = self._confirmed + 1 if self._holds() else 0
        moved = joint.value - self._start + float(lead)
        self._hand = joint.turned(moved) @ hold.hand if hold.coming == OPEN else hold.hand
        arrived = self._confirmed >= CONFIRMED or self._idle > PATIENCE
        # A push keeps on when the joint is at its end, a pull must not tear.
        point = joint.moved(hold.point, moved)
        if hold.coming == CLOSE:
            point = point + 0.03 * joint.turned(moved) @ hold.approach
        return Aim(point, CLOSE, bool(arrived), speed=0.8)

    def _let_go(self, hand: np.ndarray, joint: Joint, turn: float) -> Aim:
        coming = self._held().coming
        arrived = coming == CLOSE or self._steps >= CLOSE_STEPS
        return Aim(self._anchor, coming, arrived, speed=0.2)

    def _back(self, hand: np.ndarray, joint: Joint, turn: float) -> Aim:
        away = joint.turned(joint.value - self._start) @ self._held().approach
        return Aim(hand - 0.06 * away, self._held().coming, self._steps >= BACK_STEPS)

    def _stay(self, hand: np.ndarray, joint: Joint, turn: float) -> Aim:
        return Aim(hand.copy(), OPEN, False)

    def _advance(self, hand: np.ndarray) -> None:
        following = NEXT[self.phase]
        if self.phase is Stage.BACK and not self._holds():
            following = Stage.REACH
            self.attempts += 1
            self._hold = None
        self.phase, self._anchor = following, hand.copy()
        self._steps = self._waited = self._idle = self._confirmed = 0
        self._servo.settle()


AIMS = {
    Stage.REACH: Articulate._reach,
    Stage.APPROACH: Articulate._approach,
    Stage.GRIP: Articulate._grip,
    Stage.MOVE: Articulate._move,
    Stage.LET_GO: Articulate._let_go,
    Stage.BACK: Articulate._back,
    Stage.DONE: Articulate._stay,
}
