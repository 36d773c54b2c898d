"""Checkpoint folders as published, small and made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rfsq_jax.backbones.openvla.config import TINY, OpenVLAConfig
from rfsq_jax.backbones.openvla.description import describe

KINDS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        span = [offset, offset + tensor.nbytes]
        kind = KINDS[tensor.dtype.name]
        header[name] = {"dtype": kind, "shape": tensor.shape, "data_offsets": span}
        offset = span[1]
    raw = json.dumps(header).encode()
    body = b"".join(tensor.tobytes() for tensor in tensors.values())
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + body)


def write_folder(
    folder: Path,
    tensors: dict[str, dict[str, np.ndarray]],
    shards: int = 4,
    config: OpenVLAConfig = TINY,
) -> None:
    """Shards with their index, config.json, and side files behind `module.` as DDP saves them."""
    places: dict[str, str] = {}
    names = list(tensors["model"])
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors["model"][name] for name in names[shard::shards]}
        write_safetensors(folder / file, part)
        places |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(describe(config)))
    for side in tensors.keys() - {"model"}:
        state = {f"module.{k}": torch.from_numpy(v.copy()) for k, v in tensors[side].items()}
        torch.save(state, folder / f"{side}--150000_checkpoint.pt")
