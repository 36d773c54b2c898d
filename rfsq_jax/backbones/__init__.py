"""Frozen backbones: pictures and an instruction to feature tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rfsq_jax.backbones.protocol import Backbone
from rfsq_jax.runs.checks import require_choice


def get_backbone(name: str, **options: Any) -> Backbone:
    """Returns a backbone with its frozen weights.

    Args:
      name: one of `backbone_names()`.
      options: of that backbone, such as "config" of the small one, or "path" of OpenVLA's.

    Raises:
      ValueError: for an unknown name; the message lists the names.
    """
    require_choice(name, backbone_names(), "backbone")
    return _MAKERS[name](**options)


def backbone_names() -> tuple[str, ...]:
    """The backbones that exist."""
    return tuple(sorted(_MAKERS))


def _small(**options: Any) -> Backbone:
    from rfsq_jax.backbones.small import SmallBackbone

    if "path" in options:
        raise ValueError(f"path must not be given: small has weights, got {options['path']}")
    return SmallBackbone(**options)


def _openvla(**options: Any) -> Backbone:
    from rfsq_jax.backbones.openvla.backbone import BASE, OpenVLABackbone

    return OpenVLABackbone(BASE, **options)


def _openvla_oft(**options: Any) -> Backbone:
    from rfsq_jax.backbones.openvla.backbone import OFT, OpenVLABackbone

    return OpenVLABackbone(OFT, **options)


_MAKERS: dict[str, Callable[..., Backbone]] = {
    "small": _small,
    "openvla": _openvla,
    "openvla-oft": _openvla_oft,
}
