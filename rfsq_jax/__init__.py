"""Discrete action tokens for robot policies, in JAX.

rfsq             the quantiser: pure functions on arrays
ActionTokenizer  action chunks <-> tokens, numpy in and out; kinds in `tokenizers`
Policy           observations -> action chunks; kinds in `policies`
get_backbone     frozen backbones: images and an instruction -> features

Further rooms
  data           episodes, chunks, action spaces, normalisation, readers of other people's files
  libero         the LIBERO simulator in numpy: tasks, environment, experts, demonstrations
  heads          networks on features, and how their tokens are decoded
  features       frozen features on disk
  training       loop, checkpoints, recipes of the autoencoder and of the heads
  evaluation     the official protocol: playing, analysis, report
  parallel       hosts, sharding, worker processes, batches of fixed sizes
  interop        other people's checkpoints
  runs           what commands share: options, files, results, progress, tables
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rfsq_jax import rfsq
from rfsq_jax.tokenizers import ActionTokenizer

if TYPE_CHECKING:
    from rfsq_jax.backbones import get_backbone
    from rfsq_jax.policies import Policy

__all__ = ["ActionTokenizer", "Policy", "get_backbone", "rfsq"]

_LAZY = {"Policy": "rfsq_jax.policies", "get_backbone": "rfsq_jax.backbones"}


def __getattr__(name: str) -> Any:
    """Imports backbones and policies when they are first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module 'rfsq_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
