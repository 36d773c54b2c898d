"""A policy on one task, in the simulator's own process.

Axes: T steps of a chunk.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from rfsq_jax.libero.demonstrations.recording import Draw
from rfsq_jax.libero.environment import POLICY_CAMERAS, Observation
from rfsq_jax.policies import Observations, Policy


@dataclasses.dataclass(frozen=True, eq=False)
class PolicyPilot:
    """Implements `rfsq_jax.libero.demonstrations.generation.Pilot`.

    Attributes:
      policy: what acts.
      instruction: what it is told.
    """

    policy: Policy
    instruction: str

    @property
    def image_size(self) -> int:
        """Height and width of the pictures that it looks at."""
        return self.policy.backbone.spec.image_size

    def chunk(self, observation: Observation, draw: Draw) -> Float[np.ndarray, "t 7"]:
        """Returns its next actions: float32 [T, 7]; `draw` gives the pictures of now by camera."""
        pictures = draw()
        images = np.stack([pictures[camera] for camera in POLICY_CAMERAS])
        seen = Observations(images[None], [self.instruction], observation.state[None])
        return self.policy.act(seen)[0]
