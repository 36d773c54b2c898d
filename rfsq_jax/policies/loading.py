"""Policies by name or folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rfsq_jax import backbones
from rfsq_jax.backbones.protocol import Backbone
from rfsq_jax.policies.files import load_policy, resolve
from rfsq_jax.policies.openvla import ORIGINALS, OpenVLAPolicy
from rfsq_jax.policies.protocol import Mode, Policy
from rfsq_jax.policies.token_policy import TokenPolicy
from rfsq_jax.runs.checks import require


def load(
    path_or_name: str | Path,
    *,
    checkpoint: str | Path | None,
    mode: Mode,
    backbone: Backbone | None,
    suites: Sequence[str],
    backbone_options: Mapping[str, Any],
) -> Policy:
    """See `Policy.from_pretrained`."""
    if str(path_or_name) in ORIGINALS:
        require(mode == "greedy", "mode", f"greedy for {path_or_name}", mode)
        return OpenVLAPolicy.load(str(path_or_name), checkpoint, suites, backbone_options)
    parts = load_policy(resolve(path_or_name))
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
