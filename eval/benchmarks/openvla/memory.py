"""Host memory while a checkpoint of OpenVLA is loaded, and checkpoints of zeros to load."""

from __future__ import annotations

import json
import math
import multiprocessing
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from rfsq_jax.backbones.openvla.checkpoint import load
from rfsq_jax.backbones.openvla.config import OpenVLAConfig
from rfsq_jax.backbones.openvla.description import describe
from rfsq_jax.backbones.openvla.layout import Leaf, parameter_table

SHARD_BYTES = 7 * 10**9
PERIOD = 0.01


def write_sparse(folder: Path, config: OpenVLAConfig) -> None:
    """Writes a base model's files as published, all zeros, bfloat16; holes take no disk."""
    tensors = {key: leaf for leaf in parameter_table(config).values() for key in leaf.keys}
    places: dict[str, str] = {}
    for number, shard in enumerate(_shards(tensors)):
        name = f"model-{number + 1:05d}.safetensors"
        _write_shard(folder / name, {key: tensors[key] for key in shard})
        places |= dict.fromkeys(shard, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / "config.json").write_text(json.dumps(describe(config)))


def measure_apart(folder: Path) -> dict[str, float]:
    """As `measure`, in a process that has done nothing else."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, folder).result()


def measure(folder: Path) -> dict[str, float]:
    """Loads a checkpoint in bfloat16.

    Returns:
      parameters, bytes; memory before, and at its peak, bytes, without pages of files, which the
      kernel takes back when it needs them; how far the peak was above both, GiB; seconds.
    """
    jax.config.update("jax_platforms", "cpu")
    jnp.zeros(1).block_until_ready()
    before, start = held_bytes(), time.perf_counter()
    with sampled_peak() as peak:
        _, params = load(folder)
        seconds = time.perf_counter() - start
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    above = (peak[0] - before - size) / 2**30
    return {
        "parameter_bytes": size,
        "bytes_before": before,
        "peak_bytes": peak[0],
        "above_gib": above,
        "seconds": seconds,
    }


@contextmanager
def sampled_peak() -> Iterator[list[int]]:
    """The most that `held_bytes` says inside, looked at every PERIOD seconds and at the end."""
    peak, done = [held_bytes()], threading.Event()

    def watch() -> None:
        while not done.wait(PERIOD):
            peak[0] = max(peak[0], held_bytes())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
        peak[0] = max(peak[0], held_bytes())


def held_bytes() -> int:
    """Memory of this process that no file backs."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem"))


def _shards(tensors: dict[str, Leaf]) -> list[list[str]]:
    shards, size = [[]], 0
    for key, leaf in tensors.items():
        if size > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(key)
        size += _bytes(leaf)
    return shards


def _write_shard(path: Path, tensors: dict[str, Leaf]) -> None:
    header: dict[str, Any] = {}
    end = 0
    for key, leaf in tensors.items():
        begin, end = end, end + _bytes(leaf)
        entry = {"dtype": "BF16", "shape": leaf.torch_shape, "data_offsets": [begin, end]}
        header[key] = entry
    encoded = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        file.truncate(8 + len(encoded) + end)


def _bytes(leaf: Leaf) -> int:
    return 2 * math.prod(leaf.torch_shape)
