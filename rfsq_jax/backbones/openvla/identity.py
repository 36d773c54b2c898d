"""What tells one checkpoint from another without reading all of it.

The hash covers the config, the tokenizer, and every tensor that the model runs: name, shape, dtype
and the bytes of a few of its numbers at seeded places. Training changes nearly every number of a
model, so that two checkpoints with the same few thousand numbers are the same one.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from rfsq_jax.backbones.openvla.checkpoint import Tensors, check_tensors, open_tensors
from rfsq_jax.backbones.openvla.config import OpenVLAConfig
from rfsq_jax.backbones.openvla.layout import parameter_table, unused_keys
from rfsq_jax.backbones.openvla.orbax_copy import is_converted, read_origin
from rfsq_jax.runs.canonical import canonical

PLACES = 8
"""Numbers of each tensor."""


def version_of(folder: Path, config: OpenVLAConfig, further: dict[str, Any]) -> str:
    """16 hex digits over a checkpoint and whatever else decides what comes out.

    Args:
      folder: as `checkpoint.load` takes it.
      config: its sizes.
      further: JSON-compatible.

    Raises:
      ValueError: as `checkpoint.load`, but nothing is loaded.
    """
    digest = hashlib.sha256(_weights_of(folder, config).encode())
    digest.update((folder / "tokenizer.json").read_bytes())
    known = {"config": canonical(config), "further": further}
    digest.update(json.dumps(known, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _weights_of(folder: Path, config: OpenVLAConfig) -> str:
    """The digest of the published files, which a copy has noted down."""
    if is_converted(folder):
        return read_origin(folder).weights
    tensors = open_tensors(folder, config)
    check_tensors(folder, parameter_table(config), tensors, unused_keys(config))
    return weights_digest(config, tensors).hexdigest()


def weights_digest(config: OpenVLAConfig, tensors: Tensors) -> Any:
    """A sha256 that has seen a sample of every tensor that the model runs."""
    digest = hashlib.sha256()
    for leaf in parameter_table(config).values():
        for key in leaf.keys:
            tensor = tensors[leaf.file][key]
            digest.update(f"{leaf.file} {key} {tensor.shape} {tensor.dtype}".encode())
            places = np.random.default_rng(zlib.crc32(key.encode())).integers(
                tensor.size, size=PLACES
            )
            digest.update(np.ascontiguousarray(tensor.reshape(-1)[places]).tobytes())
    return digest
