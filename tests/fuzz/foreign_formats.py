"""Checkpoints of OpenVLA and the files of torch and safetensors that they consist of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from rfsq_jax.backbones.openvla.config import TINY, OFTConfig
from rfsq_jax.backbones.openvla.description import describe, read_description
from rfsq_jax.backbones.openvla.orbax_copy import Origin, read_origin, write_origin
from rfsq_jax.backbones.openvla.safetensors_files import open_sharded
from rfsq_jax.backbones.openvla.statistics import FILE, data_sets, read_statistics
from rfsq_jax.interop.torch_files import read_state_dict
from tests.fuzz.registry import Format
from tests.support import torch_files

SHARDS = 2
SAMPLED = "Read or refused with the file's name; the published files hold no checksum of their own."


def _numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _safetensors(tensors: dict[str, np.ndarray]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        span = [offset, offset + tensor.nbytes]
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": span}
        offset = span[1]
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + b"".join(x.tobytes() for x in tensors.values())


def _make_safetensors(folder: Path, seed: int) -> None:
    places: dict[str, str] = {}
    for shard in range(SHARDS):
        name = f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors"
        tensors = {f"layer{shard}.{n}": _numbers(seed + n, 3, 4 + seed) for n in range(3)}
        (folder / name).write_bytes(_safetensors(tensors))
        places |= dict.fromkeys(tensors, name)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _torch_format(name: str, write: Any) -> Format:
    def make(folder: Path, seed: int) -> None:
        storages = {"0": _numbers(seed, 12), "1": _numbers(seed + 1, 4)}
        state = {
            "weight": torch_files.tensor("FloatStorage", "0", 12, 0, (3, 4), (4, 1)),
            "bias": torch_files.tensor("FloatStorage", "1", 4, 1 - seed, (3,), (1,)),
        }
        (folder / "head.pt").write_bytes(write(state, storages))

    return Format(
        name=name,
        make=make,
        load=lambda folder: read_state_dict(folder / "head.pt"),
        promise=f"{SAMPLED[:-1]}, and nothing in a pickle is run.",
    )


def _make_statistics(folder: Path, seed: int) -> None:
    def ends(count: int) -> dict[str, list[float]]:
        low = np.abs(_numbers(seed, count)).tolist()
        return {"q01": [-each for each in low], "q99": [each + 1 for each in low]}

    table = {"action": {**ends(7), "mask": [True] * 6 + [False]}, "proprio": ends(8)}
    (folder / FILE).write_text(json.dumps({"libero_goal": table, "libero_10": table}))


def _make_description(folder: Path, seed: int) -> None:
    table = describe(TINY)
    table["text_config"]["vocab_size"] += 64 * seed
    (folder / "config.json").write_text(json.dumps(table, indent=2))


def _make_origin(folder: Path, seed: int) -> None:
    files = {"manifest.ocdbt": 118 + seed, "d/0123456789abcdef": 4096}
    write_origin(folder, Origin("ab" * 32, None if seed else OFTConfig(), files))


FORMATS = (
    Format(
        name="safetensors",
        make=_make_safetensors,
        load=lambda folder: dict(open_sharded(folder)),
        promise=SAMPLED,
    ),
    _torch_format("torch-zip", torch_files.zip_file),
    _torch_format("torch-legacy", torch_files.legacy_file),
    Format(
        name="openvla-config",
        make=_make_description,
        load=read_description,
        promise="The sizes are possible ones, or the field is named.",
    ),
    Format(
        name="openvla-statistics",
        make=_make_statistics,
        load=lambda folder: [data_sets(folder), read_statistics(folder, "libero_goal")],
        promise="Finite ranges of the right lengths, or the field is named.",
    ),
    Format(
        name="openvla-copy-origin",
        make=_make_origin,
        load=read_origin,
        covered="*",
        exchange_noticed=False,
        promise="What the copy was made of is under a hash; of the arrays, sizes are compared.",
    ),
)
