"""Frozen backbones: images and an instruction to feature tokens."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rfsq_jax.backbones.protocol import Backbone, BackboneOptions
from rfsq_jax.runs.checks import require_choice

BACKBONES = {
    "small": "rfsq_jax.backbones.small.backbone",
    "openvla": "rfsq_jax.backbones.openvla.backbone",
    "openvla-oft": "rfsq_jax.backbones.openvla.backbone",
}
"""Name -> module with its `Options` and `make`; a further backbone is a further line."""


def get_backbone(name: str, *, path: str | Path | None = None, **options: Any) -> Backbone:
    """Returns a backbone with its frozen weights.

    Args:
      name: one of `backbone_names()`.
      path: folder of its weights, for a backbone that has none of its own.
      options: its own options, see `backbone_options`.

    Raises:
      ValueError: for an unknown name or option, with a suggestion, or a bad value.
    """
    return make_backbone(name, backbone_options(name, options), path)


def make_backbone(name: str, options: BackboneOptions, path: str | Path | None = None) -> Backbone:
    """As `get_backbone`, with options that are parsed already."""
    return _module(name).make(name, options, path)


def backbone_options(name: str, options: Mapping[str, Any]) -> BackboneOptions:
    """The typed options of a backbone.

    Raises:
      ValueError: for an unknown name or option, with a suggestion, or a bad value.
    """
    return _module(name).Options.of(options)


def backbone_names() -> tuple[str, ...]:
    """The backbones that exist."""
    return tuple(sorted(BACKBONES))


def _module(name: str) -> Any:
    require_choice(name, backbone_names(), "backbone")
    return importlib.import_module(BACKBONES[name])
