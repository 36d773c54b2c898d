"""Which policy eval.libero plays: heads from a folder, or one of the original models."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rfsq_jax.backbones import get_backbone
from rfsq_jax.backbones.openvla.backbone import BASE, OFT, OpenVLABackbone
from rfsq_jax.backbones.options import with_path
from rfsq_jax.libero.tasks import STEP_LIMITS
from rfsq_jax.policies.files import resolve
from rfsq_jax.policies.openvla import OriginalPolicy
from rfsq_jax.policies.token_policy import Policy
from rfsq_jax.runs.checks import require

if TYPE_CHECKING:
    from eval.libero import LiberoConfig

ORIGINALS = (BASE, OFT)
AnyPolicy = Policy | OriginalPolicy


def load(config: LiberoConfig) -> AnyPolicy:
    """Loads the policy and its backbone's weights.

    Raises:
      FileNotFoundError: if there is no such policy.
      ValueError: if its files are damaged or do not allow the mode, if the backbone's checkpoint is
        missing, if an option does not suit the simulator, or if an original model would need
        statistics of several suites.
    """
    options = with_path(config.backbone_options, config.checkpoint)
    wanted = "without jpeg False: the simulator's pictures come out of no JPEG file"
    require(options.get("jpeg") is not False, "backbone_options", wanted, config.backbone_options)
    if config.policy in ORIGINALS:
        require(config.mode == "greedy", "mode", f"greedy for {config.policy}", config.mode)
        if "statistics" not in options:
            options["statistics"] = data_set(config.suite)
        backbone = get_backbone(config.policy, **options)
        assert isinstance(backbone, OpenVLABackbone), "what the originals' names give"
        policy: AnyPolicy = OriginalPolicy(backbone)
    else:
        policy = Policy.from_pretrained(config.policy, mode=config.mode, **options)
    # Loaded now: what is wrong with them is no episode's error.
    _ = policy.backbone.params
    return policy


def data_set(suites: Sequence[str]) -> str:
    """The data that a model is fine-tuned on for these suites: libero_spatial_swap has the same.

    Raises:
      ValueError: if there are several: a policy has the statistics of one.
    """
    names = {name for name in STEP_LIMITS for each in suites if f"{each}_".startswith(f"{name}_")}
    require(len(names) == 1, "suite", "of one data set for an original model", tuple(suites))
    return names.pop()


def sha256(config: LiberoConfig, policy: AnyPolicy) -> str:
    """A hash of all the policy's files, or of what decides an original model's answers."""
    if isinstance(policy, OriginalPolicy):
        return policy.version
    return folder_sha256(resolve(config.policy))


def folder_sha256(folder: Path) -> str:
    """A hash of all files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def describe(config: LiberoConfig, policy: AnyPolicy) -> dict[str, Any]:
    """What is evaluated."""
    spec = policy.backbone.spec
    figures = {
        "name": config.policy,
        "sha256": sha256(config, policy),
        "backbone": spec.name,
        "backbone_version": spec.version,
        "mode": config.mode,
        "horizon": policy.horizon,
    }
    if isinstance(policy, OriginalPolicy):
        statistics = policy.backbone.options.statistics
        return figures | {"kind": policy.kind, "blind": False, "statistics": statistics}
    parts = policy.parts
    blind = parts.config.main.blind or bool(parts.backbone_options.get("blind"))
    return figures | {"kind": parts.config.kind, "blind": blind}
