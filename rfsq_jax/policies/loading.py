"""Policies by name or folder, and the options by which every command takes one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rfsq_jax import backbones
from rfsq_jax.backbones.openvla.backbone import OpenVLABackbone
from rfsq_jax.backbones.protocol import Backbone, BackboneOption
from rfsq_jax.libero.tasks import data_set
from rfsq_jax.policies.files import FOLDERS, load_policy
from rfsq_jax.policies.openvla import ORIGINALS, OpenVLAPolicy
from rfsq_jax.policies.protocol import Mode, Policy
from rfsq_jax.policies.token_policy import TokenPolicy
from rfsq_jax.runs.checks import require


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
            FOLDERS.find(self.policy)

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


def load(
    path_or_name: str | Path,
    checkpoint: str | Path | None,
    mode: Mode,
    backbone: Backbone | None,
    suites: Sequence[str],
    backbone_options: Mapping[str, Any],
) -> Policy:
    """See `Policy.from_pretrained`."""
    if str(path_or_name) in ORIGINALS:
        require(mode == "greedy", "mode", f"greedy for {path_or_name}", mode)
        if "statistics" not in backbone_options and suites:
            backbone_options = {**backbone_options, "statistics": data_set(suites)}
        original = camera_backbone(str(path_or_name), backbone_options, checkpoint)
        assert isinstance(original, OpenVLABackbone), "what originals are registered with"
        return OpenVLAPolicy(original)
    parts = load_policy(path_or_name)
    if backbone is None:
        options = {**parts.backbone_options, **backbone_options}
        backbone = camera_backbone(parts.backbone, options, checkpoint)
    return TokenPolicy(parts, backbone, mode)


def camera_backbone(
    name: str, options: Mapping[str, Any], checkpoint: str | Path | None
) -> Backbone:
    """A backbone for images of a simulator or a camera.

    Raises:
      ValueError: for an unknown backbone or option, or one that does not suit such images.
    """
    parsed = backbones.backbone_options(name, options)
    parsed.require_camera_images()
    return backbones.make_backbone(name, parsed, checkpoint)
