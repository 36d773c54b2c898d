"""Picks a thing up and puts it on or into another, again if it did not work.

World frame, metres; one step is 50 ms.
"""

from __future__ import annotations

import dataclasses
import enum

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.environment import Observation
from rfsq_jax.libero.experts.grasps import (
    FINGER_REACH,
    PALM_DEPTH,
    Grasp,
    choose_grasp,
)
from rfsq_jax.libero.experts.servo import Servo, rotation_error
from rfsq_jax.libero.experts.style import Style
from rfsq_jax.libero.scene import Scene, tallest_near_path

OPEN, CLOSE = -1.0, 1.0
PATH_RADIUS = 0.08
"""Half the width of the corridor that must be clear below the hand."""
SLIPPED = 0.035
"""A held thing that moved this far in the hand is lost."""
CLINGS = 0.02
"""A released thing that moved less than this in the hand has not left it."""
DEEPER = 0.02
"""How much lower it is then taken."""
ON_TOLERANCE = 0.03
"""The benchmark's own: how far apart the centres of a thing and what it is on may be."""

STALLED = 10
"""Steps without motion after which the hand will not come nearer."""
PATIENCE = 45
"""Steps after which it is not coming nearer either."""
SLOW_BELOW = 0.06
"""Distance from the grasp at which the hand slows down."""
RETRY_TASTE = 0.25
"""What failed once is tried a little differently."""


class Phase(enum.Enum):
    """What the hand is doing."""

    REACH = enum.auto()
    DESCEND = enum.auto()
    CLOSE = enum.auto()
    LIFT = enum.auto()
    CARRY = enum.auto()
    LOWER = enum.auto()
    RELEASE = enum.auto()
    RETREAT = enum.auto()
    DONE = enum.auto()


@dataclasses.dataclass(frozen=True, eq=False)
class Aim:
    """Where the hand should go now.

    Attributes:
      point: float64 [3], metres.
      gripper: -1 open, +1 close.
      arrived: whether the phase is over.
      speed: fraction of the style's top speed.
    """

    point: Float64[np.ndarray, 3]
    gripper: float
    arrived: bool
    speed: float = 1.0


class PickPlace:
    """One thing, one target; a phase machine around a servo."""

    def __init__(
        self, scene: Scene, thing: str, target: str, style: Style, rng: np.random.Generator
    ) -> None:
        self.phase = Phase.REACH
        self.attempts = 0
        self._scene, self._thing, self._target = scene, thing, target
        self._style, self._rng = style, rng
        self._servo = Servo(style)
        self._steps = 0
        self._base = scene.owner(target)
        self._grasp: Grasp | None = None
        self._failed: list[np.ndarray] = []
        self._point_in_thing = np.zeros(3)
        self._held_offset = np.zeros(3)
        self._anchor = np.zeros(3)
        self._obstacles = np.zeros((0, 3))
        self._fingers = 0.0
        self._waited = 0
        self._clung = 0
        self._still_steps = 0
        self._last_hand = np.zeros(3)
        self._travel_height = 0.0
        self._aims = {
            Phase.REACH: self._reach,
            Phase.DESCEND: self._descend,
            Phase.CLOSE: self._close,
            Phase.LIFT: self._lift,
            Phase.CARRY: self._carry,
            Phase.LOWER: self._lower,
            Phase.RELEASE: self._release,
            Phase.RETREAT: self._retreat,
            Phase.DONE: self._stay,
        }

    @property
    def done(self) -> bool:
        """Whether the thing lies where it should and the hand has left it."""
        return self.phase is Phase.DONE

    @property
    def is_delicate(self) -> bool:
        """Whether a push would spoil the present phase rather than be corrected."""
        return self.phase in (Phase.CLOSE, Phase.LOWER, Phase.RELEASE)

    def act(self, observation: Observation) -> Float64[np.ndarray, 7]:
        """Returns the action for what is observed now: float64 [7]."""
        hand = observation.eef_pos
        if self._grasp is None:
            self._plan_grasp(hand)
        moved = np.linalg.norm(hand - self._last_hand)
        self._still_steps = self._still_steps + 1 if moved < 0.0012 else 0
        self._last_hand = hand.copy()
        if self._lost(hand) or self._blocked(hand):
            self._retry(hand)
        aim = self._aims[self.phase](hand, observation)
        turn = rotation_error(observation.eef_quat, self._yaw()) + self._tilt()
        action = self._servo(aim.point - hand, turn, speed=aim.speed, gripper=aim.gripper)
        self._steps += 1
        if aim.arrived:
            self._advance(hand)
        return action

    def _plan_grasp(self, hand: np.ndarray) -> None:
        """Chooses a grasp of the thing as it lies now, and the height at which to come."""
        scene, style = self._scene, self._style
        obstacles = scene.obstacles(self._thing)
        grasp = choose_grasp(
            scene.points(self._thing),
            obstacles,
            base=scene.base,
            failed=self._failed,
            taste=style.grasp_taste if self.attempts == 0 else RETRY_TASTE,
            rng=self._rng,
        )
        offset = np.array(style.grasp_offset) if self.attempts == 0 else np.zeros(3)
        if self._misses:
            offset = offset + np.array(style.miss)
        self._grasp = grasp
        self._point_in_thing = scene.rotation(self._thing).T @ (
            grasp.point + offset - scene.position(self._thing)
        )
        tallest = tallest_near_path(obstacles, hand, grasp.point, PATH_RADIUS)
        self._travel_height = max(
            grasp.point[2] + style.hover_height, tallest + FINGER_REACH + style.carry_height
        )

    def _grasp_point(self) -> Float64[np.ndarray, 3]:
        """The grip site's goal, moving with the thing: float64 [3]."""
        scene = self._scene
        return scene.position(self._thing) + scene.rotation(self._thing) @ self._point_in_thing

    def _yaw(self) -> float:
        assert self._grasp is not None
        return self._grasp.yaw + (self._style.grasp_yaw if self.attempts == 0 else 0.0)

    def _tilt(self) -> Float64[np.ndarray, 3]:
        if self.phase in (Phase.REACH, Phase.RETREAT, Phase.DONE):
            return np.array(self._style.tilts[0])
        if self.phase in (Phase.DESCEND, Phase.CLOSE, Phase.LIFT):
            return 0.35 * np.array(self._style.tilts[1])
        return np.array(self._style.tilts[2])

    def _reach(self, hand: np.ndarray, observation: Observation) -> Aim:
        goal = self._grasp_point()
        goal[:2] += self._style.hover_offset
        goal[2] = self._travel_height
        to_go = np.linalg.norm(goal[:2] - hand[:2])
        if to_go > 0.04 and hand[2] < goal[2] - 0.03:
            goal[:2] = hand[:2] + 0.25 * (goal[:2] - hand[:2])
        is_open = np.ptp(observation.gripper_qpos) > 0.06
        there = to_go < 0.025 and abs(goal[2] - hand[2]) < 0.03 and is_open
        self._waited += there
        arrived = self._waited > self._style.hover_pause
        return Aim(goal, OPEN, bool(arrived))

    def _descend(self, hand: np.ndarray, observation: Observation) -> Aim:
        goal = self._grasp_point()
        turn = abs(rotation_error(observation.eef_quat, self._yaw())[2])
        beside = np.linalg.norm(goal[:2] - hand[:2]) + 0.05 * max(0.0, turn - 0.1)
        error = np.linalg.norm(goal - hand)
        # A funnel: the hand may only be as low as it is well above the grasp.
        goal[2] += min(max(0.0, 6.0 * (beside - 0.006)), max(0.0, self._travel_height - goal[2]))
        arrived = error < 0.006 or (self._steps > 18 and error < 0.01)
        arrived |= self._stuck
        speed = self._style.descent_speed if error < SLOW_BELOW else 0.9
        return Aim(goal, OPEN, bool(arrived), speed=speed)

    def _close(self, hand: np.ndarray, observation: Observation) -> Aim:
        fingers = float(np.ptp(observation.gripper_qpos))
        still = abs(fingers - self._fingers) < 0.0008
        self._fingers = fingers
        arrived = (self._steps >= 5 + self._style.close_pause and still) or self._steps > 18
        return Aim(self._anchor, CLOSE, bool(arrived), speed=0.2)

    def _lift(self, hand: np.ndarray, observation: Observation) -> Aim:
        goal = np.array([*self._anchor[:2], self._travel_height])
        return Aim(goal, CLOSE, bool(hand[2] > goal[2] - 0.025))

    def _carry(self, hand: np.ndarray, observation: Observation) -> Aim:
        goal = np.array([*self._place_xy(hand), self._travel_height])
        if self._steps % 4 == 0:
            self._travel_height = min(self._travel_height, self._carry_height(hand))
        arrived = np.linalg.norm(goal[:2] - hand[:2]) < 0.02
        return Aim(goal, CLOSE, bool(arrived))

    def _lower(self, hand: np.ndarray, observation: Observation) -> Aim:
        goal = np.array([*self._place_xy(hand), self._release_height(hand)])
        beside = np.linalg.norm(goal[:2] - hand[:2])
        arrived = (beside < 0.01 and hand[2] < goal[2] + 0.006) or self._stuck
        goal[2] = min(goal[2] + max(0.0, 4.0 * (beside - 0.012)), self._travel_height)
        return Aim(goal, CLOSE, bool(arrived), speed=0.8)

    def _release(self, hand: np.ndarray, observation: Observation) -> Aim:
        is_open = np.ptp(observation.gripper_qpos) > 0.074
        arrived = is_open and self._steps >= 5 + self._style.release_pause
        return Aim(self._anchor, OPEN, bool(arrived) or self._steps > 16, speed=0.2)

    def _retreat(self, hand: np.ndarray, observation: Observation) -> Aim:
        goal = hand + np.array([0.0, 0.0, 0.06])
        return Aim(goal, OPEN, self._steps >= 10)

    def _stay(self, hand: np.ndarray, observation: Observation) -> Aim:
        return Aim(hand.copy(), OPEN, False)

    def _place_xy(self, hand: np.ndarray) -> Float64[np.ndarray, 2]:
        """Where the hand must be for the thing to be above its target: float64 [2]."""
        scene = self._scene
        if scene.is_thing(self._target):
            target = scene.position(self._target)
        else:
            target = scene.region(self._target).center
        offset = hand - scene.position(self._thing)
        return target[:2] + offset[:2] + self._style.place_offset

    def _release_height(self, hand: np.ndarray) -> float:
        """Where the hand lets go: just above a thing, or at the opening of a region."""
        scene = self._scene
        height = self._style.release_height - DEEPER * self._clung
        if scene.is_thing(self._target):
            hang = hand[2] - scene.lowest(self._thing)
            return scene.highest(self._target) + hang + height
        region = scene.region(self._target)
        opening = region.center[2] + region.reach[2]
        above = hand[2] - scene.position(self._thing)[2]
        # The palm must stay above the walls.
        walls = -np.inf if self._base is None else scene.highest(self._base) - PALM_DEPTH + 0.012
        return max(opening + above + 0.004 + height, walls)

    def _plan_carry(self, hand: np.ndarray) -> None:
        self._obstacles = _thinned(self._scene.obstacles(self._thing))
        self._travel_height = max(hand[2] + 0.06, self._carry_height(hand))

    def _carry_height(self, hand: np.ndarray) -> float:
        """Height of the hand at which the held thing clears what lies on the rest of the way."""
        target = np.array([*self._place_xy(hand), 0.0])
        hang = max(hand[2] - self._scene.lowest(self._thing), FINGER_REACH)
        tallest = tallest_near_path(self._obstacles, hand, target, PATH_RADIUS)
        return tallest + hang + self._style.carry_height

    def _lost(self, hand: np.ndarray) -> bool:
        if self.phase not in (Phase.LIFT, Phase.CARRY, Phase.LOWER):
            return False
        offset = hand - self._scene.position(self._thing)
        return bool(np.linalg.norm(offset - self._held_offset) > SLIPPED)

    def _blocked(self, hand: np.ndarray) -> bool:
        """Whether something keeps the hand from its grasp; a planned miss is followed through."""
        if self.phase is not Phase.DESCEND or self._misses:
            return False
        beyond = np.linalg.norm(self._grasp_point() - hand)
        return self._stuck and bool(beyond > 0.02)

    @property
    def _stuck(self) -> bool:
        return self._still_steps > STALLED or self._steps > PATIENCE

    @property
    def _misses(self) -> bool:
        return self.attempts == 0 and self._style.miss is not None

    def _retry(self, hand: np.ndarray) -> None:
        assert self._grasp is not None
        self._failed.append(self._grasp.point)
        self.attempts += 1
        self._clung = 0
        self._plan_grasp(hand)
        self._enter(Phase.REACH, hand)

    def _advance(self, hand: np.ndarray) -> None:
        """Goes on to the next phase."""
        if self.phase is Phase.CLOSE:
            self._held_offset = hand - self._scene.position(self._thing)
            self._plan_carry(hand)
        if self.phase is Phase.RELEASE and self._clings(hand):
            self._clung += 1
            self._enter(Phase.LOWER, hand)
            return
        if self.phase is Phase.RETREAT and not self._placed():
            self._retry(hand)
            return
        phases = list(Phase)
        self._enter(phases[phases.index(self.phase) + 1], hand)

    def _enter(self, phase: Phase, hand: np.ndarray) -> None:
        self.phase, self._steps, self._anchor = phase, 0, hand.copy()
        if phase is Phase.CLOSE and np.linalg.norm(self._grasp_point() - hand) < 0.015:
            self._anchor = self._grasp_point()
        self._waited = self._still_steps = 0
        self._servo.settle()

    def _clings(self, hand: np.ndarray) -> bool:
        """Whether the thing has not left the open hand, as corners wedged on a finger may."""
        offset = hand - self._scene.position(self._thing)
        stays = np.linalg.norm(offset - self._held_offset) < CLINGS
        return bool(stays) and self._clung < 2 and not self._placed()

    def _placed(self) -> bool:
        """Whether the thing is where the goal wants it, by geometry."""
        scene = self._scene
        position = scene.position(self._thing)
        if not scene.is_thing(self._target):
            return scene.region(self._target).contains(position)
        apart = position - scene.position(self._target)
        return bool(np.linalg.norm(apart[:2]) < ON_TOLERANCE and abs(apart[2]) < 0.1)


def _thinned(points: Float64[np.ndarray, "p 3"]) -> Float64[np.ndarray, "q 3"]:
    """Keeps one of the points in each cubic centimetre."""
    _, kept = np.unique(np.round(points, 2), axis=0, return_index=True)
    return points[kept]
