"""A policy that acts in the simulator's own process, before an expert takes over (DAgger).

Axes: T steps of a chunk.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from rfsq_jax.libero.environment import POLICY_CAMERAS, Environment
from rfsq_jax.policies import Observations, Policy


@dataclasses.dataclass(frozen=True, eq=False)
class PolicyInSimulator:
    """Implements `rfsq_jax.libero.demonstrations.generation.RolloutPolicy`."""

    policy: Policy

    @property
    def image_size(self) -> int:
        """Height and width of the images that it looks at."""
        return self.policy.backbone.spec.image_size

    def __call__(self, env: Environment) -> Float[np.ndarray, "t 7"]:
        """Returns its next actions in `env` as it is now: float32 [T, 7]."""
        rendered = env.render()
        images = np.stack([rendered[camera] for camera in POLICY_CAMERAS])
        state = env.observe().state
        shown = Observations(images[None], [env.task.instruction], state[None])
        return self.policy.act(shown)[0]
