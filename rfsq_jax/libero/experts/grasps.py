"""Where to hold a thing, from its shape and its surroundings.

Small things are held from above across their narrow side, wide hollow things by the rim. Every
candidate is priced (a turned wrist, a stretched arm, a tight fit, a neighbour hit) and the
cheapest is taken.

Axes: P surface points · K candidates · world frame in metres, z up. The hand points
down; at yaw 0 its fingers close along the world's y.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64

FINGER_REACH = 0.010
"""How far the finger tips extend below the grip site."""
PALM_DEPTH = 0.031
"""How far above the grip site the palm begins."""
WIDEST = 0.068
"""Widest thing that the open fingers (0.076) take without luck."""
DEPTH = 0.024
"""How deep below its top a thing is held, if it is tall enough."""
PINCH_DEPTH = 0.006
"""How deep the knob on a lid is held."""
PINCH_BAND = 0.008
WIDEST_KNOB = 0.03
"""What is wider either way is no knob; it may be the rim of a bowl that lies on its side."""
RIM_DEPTH = 0.017
RIM_BAND = 0.008

OPEN_FINGERS = ((-0.068, -0.037), (0.037, 0.068))
"""What the open fingers cover along their closing direction."""
FINGER_HALF_THICKNESS = 0.014
PALM_HALF = (0.036, 0.108)
"""Half extents of the palm across and along the closing direction."""

PALM_START, HAND_LENGTH = 0.024, 0.12
"""Where the hand's body begins and ends above the grip site."""
LEAN = 0.5

YAW_PRICE = 1.0
WIDTH_PRICE = 30.0
BLOCKED_PRICE = 0.5
REACH_PRICE = 4.0
LEAN_PRICE = 0.4
FAILED_PRICE = 0.7


@dataclasses.dataclass(frozen=True, eq=False)
class Grasp:
    """A pose of the hand relative to a thing.

    Attributes:
      point: float64 [3], where the grip site goes, in the world.
      yaw: radians about the vertical from the hand's default orientation, in -pi/2..pi/2.
      price: what the choice minimised.
      lean: radians by which the palm leans sideways, along `closing_direction(yaw + pi / 2)`.
    """

    point: Float64[np.ndarray, " 3"]
    yaw: float
    price: float
    lean: float = 0.0

    def lean_vector(self) -> Float64[np.ndarray, " 3"]:
        """Returns the lean as a rotation vector in the world: float64 [3]."""
        side = closing_direction(self.yaw + np.pi / 2)
        return self.lean * np.array([-side[1], side[0], 0.0])


def choose_grasp(
    points: Float64[np.ndarray, "p 3"],
    obstacles: Float64[np.ndarray, "q 3"],
    *,
    base: Float64[np.ndarray, " 3"],
    failed: Sequence[Float64[np.ndarray, " 3"]] = (),
    taste: float,
    rng: np.random.Generator,
    hand: Float64[np.ndarray, " 3"] | None = None,
    nearness: float = 0.0,
    room: float = 0.0,
    carried: Float64[np.ndarray, " 3"] | None = None,
) -> Grasp:
    """Returns the cheapest grasp of a thing.

    Args:
      points: float64 [P, 3], its surface samples in the world.
      obstacles: float64 [Q, 3], those of everything else.
      base: float64 [3], where the arm stands; a stretched arm is a clumsy one.
      failed: points float64 [3] at which earlier grasps went wrong.
      taste: standard deviation of a random price, radians of wrist yaw.
      rng: sampled from only where `taste` is positive.
      hand: float64 [3], where the hand is; needed where `nearness` is positive.
      nearness: price of a metre that the hand must go sideways.
      room: metres that the palm keeps from obstacles; where positive, it may lean for it.
      carried: float64 [3], how far the thing will be carried, if there must be room there too.
    """
    candidates = top_grasps(points) or pinch_grasps(points) or rim_grasps(points)
    if room > 0:
        candidates += [leaned(grasp, lean) for grasp in candidates for lean in (-LEAN, LEAN)]
    priced = [
        dataclasses.replace(
            grasp,
            price=grasp.price
            + YAW_PRICE * abs(grasp.yaw)
            + REACH_PRICE * float(np.linalg.norm(grasp.point[:2] - base[:2]))
            + FAILED_PRICE * _num_near(grasp.point, failed)
            + (nearness * _sideways(grasp.point, hand) if nearness > 0 else 0.0)
            + BLOCKED_PRICE * num_blocked(grasp, obstacles, room)
            + BLOCKED_PRICE * _num_blocked_there(grasp, obstacles, carried, room)
            + (taste * rng.normal() if taste > 0 else 0.0),
        )
        for grasp in candidates
    ]
    return min(priced, key=lambda grasp: grasp.price)


def top_grasps(points: Float64[np.ndarray, "p 3"], num_yaws: int = 36) -> list[Grasp]:
    """Returns grasps from above about the middle of a thing, none where it is too wide."""
    low, high = points.min(axis=0), points.max(axis=0)
    height = max(high[2] - DEPTH, low[2] + FINGER_REACH + 0.001)
    return _grasps_around(points[np.abs(points[:, 2] - height) < 0.025], height, num_yaws)


def pinch_grasps(points: Float64[np.ndarray, "p 3"], num_yaws: int = 36) -> list[Grasp]:
    """Returns shallow grasps of a knob at the top, none where there is no such thing."""
    height = points[:, 2].max() - PINCH_DEPTH
    held = points[points[:, 2] > height - PINCH_BAND]
    if np.ptp(held[:, :2], axis=0).max() > WIDEST_KNOB:
        return []
    return _grasps_around(held, height, num_yaws)


def rim_grasps(points: Float64[np.ndarray, "p 3"], num_sides: int = 36) -> list[Grasp]:
    """Returns grasps across the rim of a hollow thing, all around."""
    centre = 0.5 * (points.min(axis=0) + points.max(axis=0))
    offset = points - centre
    azimuth = np.arctan2(offset[:, 1], offset[:, 0])
    radius = np.hypot(offset[:, 0], offset[:, 1])
    grasps = []
    for side in np.linspace(-np.pi, np.pi, num_sides, endpoint=False):
        turn = np.abs((azimuth - side + np.pi) % (2 * np.pi) - np.pi)
        sector = (turn < 0.2) & (radius > 0.5 * radius.max())
        if not sector.any():
            continue
        top = points[sector, 2].max()
        wall = radius[sector & (points[:, 2] > top - RIM_BAND)].max()
        out = np.array([np.cos(side), np.sin(side)])
        height = max(top - RIM_DEPTH, points[:, 2].min() + FINGER_REACH + 0.001)
        point = np.array([*(centre[:2] + (wall - 0.004) * out), height])
        grasps.append(Grasp(point, wrapped_yaw(side - np.pi / 2), 0.0))
    return grasps


def num_blocked(grasp: Grasp, obstacles: Float64[np.ndarray, "q 3"], room: float = 0.0) -> int:
    """Counts obstacle samples where fingers and palm, and `room` (m) around it, have to be."""
    offset = obstacles - grasp.point
    along = offset[:, :2] @ closing_direction(grasp.yaw)
    sideways = offset[:, :2] @ closing_direction(grasp.yaw + np.pi / 2)
    across = np.abs(sideways)
    above_tips = offset[:, 2] > -FINGER_REACH
    fingers = np.zeros(len(obstacles), bool)
    for low, high in OPEN_FINGERS:
        fingers |= (along > low) & (along < high)
    fingers &= above_tips & (across < FINGER_HALF_THICKNESS)
    half_along = PALM_HALF[1]
    palm = (np.abs(along) < half_along + room) & _beneath_palm(sideways, grasp.lean, room)
    palm &= offset[:, 2] > PALM_DEPTH - 0.006
    return int((fingers | palm).sum())


def leaned(grasp: Grasp, lean: float) -> Grasp:
    """Returns the grasp with a palm that leans sideways by `lean` (rad)."""
    return dataclasses.replace(grasp, lean=lean, price=grasp.price + LEAN_PRICE)


def _beneath_palm(
    sideways: Float64[np.ndarray, " q"], lean: float, room: float
) -> Bool[np.ndarray, " q"]:
    """Which of the places beside a hand, metres across it, its palm passes when it comes down."""
    half, sine = PALM_HALF[0], np.sin(abs(lean))
    towards = half + HAND_LENGTH * sine
    away = half * np.cos(lean) - PALM_START * sine
    signed = sideways if lean >= 0 else -sideways
    return (signed < towards + room) & (signed > -away - room)


def closing_direction(yaw: float) -> Float64[np.ndarray, " 2"]:
    """Returns the horizontal unit vector along which the fingers close: float64 [2]."""
    return np.array([-np.sin(yaw), np.cos(yaw)])


def wrapped_yaw(yaw: float) -> float:
    """Returns the equivalent yaw of a two-fingered hand in -pi/2..pi/2."""
    return float((yaw + np.pi / 2) % np.pi - np.pi / 2)


def _grasps_around(held: Float64[np.ndarray, "p 3"], height: float, num_yaws: int) -> list[Grasp]:
    """Grasps across the points between the fingers, at every yaw at which these are far enough."""
    grasps = []
    for yaw in np.linspace(-np.pi / 2, np.pi / 2, num_yaws, endpoint=False):
        width = np.ptp(held[:, :2] @ closing_direction(yaw))
        if width <= WIDEST:
            point = np.array([*_middle(held, yaw), height])
            grasps.append(Grasp(point, float(yaw), WIDTH_PRICE * float(width)))
    return grasps


def _num_blocked_there(
    grasp: Grasp, obstacles: np.ndarray, carried: np.ndarray | None, room: float
) -> int:
    if carried is None:
        return 0
    return num_blocked(dataclasses.replace(grasp, point=grasp.point + carried), obstacles, room)


def _sideways(point: Float64[np.ndarray, " 3"], hand: Float64[np.ndarray, " 3"] | None) -> float:
    if hand is None:
        raise ValueError("hand must be given where nearness counts, got None")
    return float(np.linalg.norm(point[:2] - hand[:2]))


def _num_near(point: Float64[np.ndarray, " 3"], others: Sequence[Float64[np.ndarray, " 3"]]) -> int:
    return sum(bool(np.linalg.norm(point - other) < 0.025) for other in others)


def _middle(points: np.ndarray, yaw: float) -> Float64[np.ndarray, " 2"]:
    """Centre of the box around the points that is aligned with the hand, seen from above."""
    frame = np.stack([closing_direction(yaw), closing_direction(yaw + np.pi / 2)])
    local = points[:, :2] @ frame.T
    return 0.5 * (local.min(axis=0) + local.max(axis=0)) @ frame
