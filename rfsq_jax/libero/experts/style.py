"""How a scripted expert moves: steadily for tests, or with the variety of a person.

People take a thing now on this side, now on that, which leaves a policy that predicts means between
the two. The style "nearest_grasp" always takes the side that the hand is on.

A style is sampled once per episode and says everything that is random about it.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float64

from rfsq_jax.libero.lattice import MAX_TRANSLATION
from rfsq_jax.runs.checks import require, require_choice

StyleName = Literal["steady", "human", "nearest_grasp"]

NEARNESS = 10.0
"""What a metre sideways costs in radians of wrist yaw: near rims win, turned wrists do not."""


@dataclasses.dataclass(frozen=True)
class Burst:
    """An offset on the executed action for some steps; labels do not contain it.

    Attributes:
      first_step: step of the episode at which it begins.
      num_steps: how long it lasts.
      offset: added to the six motion components; never to the gripper.
    """

    first_step: int
    num_steps: int
    offset: tuple[float, float, float, float, float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Style:
    """Everything that differs from one episode to the next. Metres, radians, steps of 50 ms.

    Attributes:
      top_speed: largest translation component.
      gain: translation action per metre of error.
      turn_gain: rotation action per radian of error.
      acceleration: largest growth of the speed per step.
      hover_height: how far above the grasp the hand arrives.
      hover_offset: where it arrives beside the grasp, x and y.
      hover_pause: steps that it waits there.
      descent_speed: fraction of the top speed on the way down to the grasp.
      grasp_offset: error of the grasp, along the world's axes.
      grasp_yaw: error of the grasp's yaw.
      grasp_taste: weights random preferences among possible grasps, radians.
      grasp_nearness: price of a metre that the hand must go sideways to the grasp, radians.
      carry_height: clearance above what lies on the way.
      place_offset: error of the placement, x and y.
      release_height: above the lowest sensible point of release.
      tilts: small rotations kept while reaching, while descending and while carrying.
      close_pause: steps that the hand waits with closed fingers.
      release_pause: steps that the hand waits with open fingers.
      miss: offset that spoils the first grasp, or None; -inf..inf along the world's axes.
      bursts: disturbances of the executed action.
    """

    top_speed: float = 0.9
    gain: float = 16.0
    turn_gain: float = 1.2
    acceleration: float = 1.0
    hover_height: float = 0.07
    hover_offset: tuple[float, float] = (0.0, 0.0)
    hover_pause: int = 0
    descent_speed: float = 0.8
    grasp_offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    grasp_yaw: float = 0.0
    grasp_taste: float = 0.0
    grasp_nearness: float = 0.0
    carry_height: float = 0.03
    place_offset: tuple[float, float] = (0.0, 0.0)
    release_height: float = 0.0
    tilts: tuple[tuple[float, float, float], ...] = ((0.0, 0.0, 0.0),) * 3
    close_pause: int = 1
    release_pause: int = 3
    miss: tuple[float, float, float] | None = None
    bursts: tuple[Burst, ...] = ()

    def __post_init__(self) -> None:
        fits = 0 < self.top_speed <= MAX_TRANSLATION
        require(fits, "top_speed", f"in (0, {MAX_TRANSLATION}]", self.top_speed)
        for name in ("gain", "turn_gain", "acceleration"):
            require(getattr(self, name) > 0, name, "positive", getattr(self, name))
        if len(self.tilts) != 3:
            raise ValueError(f"tilts must hold 3 rotations, got {len(self.tilts)}")

    def disturbance(self, step: int) -> Float64[np.ndarray, " 7"]:
        """Returns what is added to the executed action at `step`: float64 [7], gripper 0."""
        offset = np.zeros(7)
        for burst in self.bursts:
            if burst.first_step <= step < burst.first_step + burst.num_steps:
                offset[:6] += burst.offset
        return offset


def make_style(name: str, rng: np.random.Generator) -> Style:
    """Returns the style called `name`; "steady" samples nothing from `rng`.

    Raises:
      ValueError: for an unknown name.
    """
    require_choice(name, StyleName, "style")
    if name == "steady":
        return Style()
    if name == "human":
        return human_style(rng)
    human = human_style(rng, miss_rate=0.0)
    return dataclasses.replace(human, grasp_taste=0.0, grasp_nearness=NEARNESS)


def human_style(
    rng: np.random.Generator, *, miss_rate: float = 0.08, burst_rate: float = 0.7
) -> Style:
    """Samples a person's way of moving for one episode.

    Args:
      rng: source of all its randomness.
      miss_rate: share of episodes whose first grasp is spoiled.
      burst_rate: mean number of disturbances in an episode.
    """
    spoiled = rng.uniform() < miss_rate
    return Style(
        top_speed=float(rng.uniform(0.8, MAX_TRANSLATION)),
        gain=float(rng.uniform(11.0, 16.0)),
        turn_gain=float(rng.uniform(0.8, 1.5)),
        acceleration=float(rng.uniform(0.1, 0.3)),
        hover_height=float(rng.uniform(0.04, 0.09)),
        hover_offset=_within(rng, 0.012, 2),
        hover_pause=int(rng.integers(0, 7)),
        descent_speed=float(rng.uniform(0.35, 0.75)),
        grasp_offset=(*_within(rng, 0.003, 2), float(rng.uniform(-0.003, 0.002))),
        grasp_yaw=float(rng.uniform(-0.06, 0.06)),
        grasp_taste=0.12,
        carry_height=float(rng.uniform(0.02, 0.05)),
        place_offset=_within(rng, 0.01, 2),
        release_height=float(rng.uniform(-0.013, 0.005)),
        tilts=tuple(_sample_tilt(rng) for _ in range(3)),
        close_pause=int(rng.integers(0, 4)),
        release_pause=int(rng.integers(2, 6)),
        miss=_sample_miss(rng) if spoiled else None,
        bursts=tuple(_sample_burst(rng) for _ in range(rng.poisson(burst_rate))),
    )


def _within(rng: np.random.Generator, bound: float, size: int) -> tuple:
    return tuple(rng.uniform(-bound, bound, size).tolist())


def _sample_tilt(rng: np.random.Generator) -> tuple[float, float, float]:
    # More pitch than this straightens the elbow into its limit, where the arm jams.
    x, y, z = rng.uniform(-1.0, 1.0, 3) * (0.1, 0.16, 0.13)
    return (float(x), float(y), float(z))


def _sample_miss(rng: np.random.Generator) -> tuple[float, float, float]:
    if rng.uniform() < 0.5:
        return (0.0, 0.0, float(rng.uniform(0.025, 0.04)))
    angle, distance = rng.uniform(-np.pi, np.pi), rng.uniform(0.018, 0.032)
    return (float(distance * np.cos(angle)), float(distance * np.sin(angle)), 0.01)


def _sample_burst(rng: np.random.Generator) -> Burst:
    direction = rng.normal(size=3)
    push = rng.uniform(0.25, 0.7) * direction / np.linalg.norm(direction)
    turn = rng.uniform(-0.08, 0.08, 3)
    return Burst(
        first_step=int(rng.integers(5, 110)),
        num_steps=int(rng.integers(3, 9)),
        offset=tuple(np.concatenate([push, turn]).tolist()),
    )
