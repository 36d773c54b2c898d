"""Which policy a command takes: the same options in all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rfsq_jax.backbones.protocol import BackboneOption
from rfsq_jax.policies.files import resolve
from rfsq_jax.policies.openvla import ORIGINALS
from rfsq_jax.policies.protocol import Mode, Policy
from rfsq_jax.policies.token_policy import TokenPolicy


@dataclasses.dataclass(frozen=True)
class PolicyOptions:
    """A policy by name, and what its backbone needs.

    Attributes:
      policy: a bundled name, a folder that train.heads wrote, or openvla or openvla-oft: the
        original model of a checkpoint, with its own actions.
      checkpoint: folder of the backbone's weights, for a backbone that has none of its own.
      backbone_options: further options of the backbone, such as "chips 4" for OpenVLA.
    """

    policy: str = "small"
    checkpoint: Path | None = None
    backbone_options: dict[str, BackboneOption] = dataclasses.field(default_factory=dict)

    def require_files(self) -> None:
        """Raises a FileNotFoundError if there is no such policy; loads nothing."""
        if self.policy not in ORIGINALS:
            resolve(self.policy)

    def load(self, mode: Mode = "greedy", suites: Sequence[str] = ()) -> Policy:
        """Loads it; see `Policy.from_pretrained`, whose errors it raises."""
        return Policy.from_pretrained(
            self.policy,
            checkpoint=self.checkpoint,
            mode=mode,
            suites=suites,
            backbone_options=self.backbone_options,
        )

    def load_with_draft(self) -> TokenPolicy:
        """Loads it where it must have a draft head.

        Raises:
          ValueError: if it has none, or as `load`.
          FileNotFoundError: as `load`.
        """
        expected = "policy must have token heads with a draft"
        if self.policy in ORIGINALS:
            raise ValueError(f"{expected}, got the original model {self.policy}")
        policy = self.load()
        if not isinstance(policy, TokenPolicy) or policy.parts.config.draft is None:
            raise ValueError(f"{expected}, got kind {policy.kind!r} without one: {self.policy}")
        return policy
