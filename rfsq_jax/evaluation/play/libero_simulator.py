"""A LIBERO task as an episode needs it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from rfsq_jax.evaluation.protocol import EvaluationProtocol, Trial, placement_seed
from rfsq_jax.libero.environment import POLICY_CAMERAS, Environment
from rfsq_jax.libero.placements import official_start, random_start
from rfsq_jax.libero.tasks import Start, get_task


class LiberoSimulator:
    """Implements `rollout.Simulator` with the bridge's environment."""

    def __init__(self, suite: str, task: int, image_size: int) -> None:
        """Builds the scene (some seconds).

        Raises:
          ValueError: for an unknown suite or task.
          RenderingError: if nothing can render.
        """
        self.env = Environment(get_task(suite, task), cameras=POLICY_CAMERAS, image_size=image_size)

    @property
    def instruction(self) -> str:
        """What the policy is told."""
        return self.env.task.instruction

    def begin(self, trial: Trial, protocol: EvaluationProtocol) -> Float[np.ndarray, " 8"]:
        """Goes to the trial's start and lets the scene settle."""
        start = start_of(self.env, trial, protocol)
        return self.env.reset(start, settle_steps=protocol.settle_steps).state

    def step(self, action: Float[np.ndarray, " 7"]) -> Float[np.ndarray, " 8"]:
        """Plays one action."""
        return self.env.step(action).state

    def success(self) -> bool:
        """Whether the goal holds now, by the benchmark's own predicates."""
        return self.env.success()

    def render(self) -> UInt8[np.ndarray, "c h w 3"]:
        """The images of the policy's cameras now, upright."""
        images = self.env.render()
        return np.stack([images[name] for name in POLICY_CAMERAS])

    def snapshot(self) -> Float[np.ndarray, " s"]:
        """Time, positions and velocities."""
        return self.env.simulator_state

    def close(self) -> None:
        """Frees the simulator."""
        self.env.close()


def start_of(env: Environment, trial: Trial, protocol: EvaluationProtocol) -> Start:
    """Where a trial begins; depends on trial and protocol alone."""
    if protocol.starts == "official":
        return official_start(env, trial.number)
    seed = placement_seed(trial, protocol.seed)
    return random_start(env, seed, placement_margin=protocol.placement_margin)
