"""A published checkpoint's folder -> config, parameters on their devices, and a digest.

The host never holds more than one parameter beside what the devices hold: each is read from the
files when its shards are made.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from rfsq_jax.backbones.openvla.config import OFTConfig, OpenVLAConfig
from rfsq_jax.backbones.openvla.description import read_description
from rfsq_jax.backbones.openvla.layout import (
    HEAD,
    MODEL,
    PROPRIO,
    RULES,
    Leaf,
    parameter_table,
    unused_keys,
)
from rfsq_jax.backbones.openvla.orbax_copy import is_converted, read_arrays, read_origin
from rfsq_jax.backbones.openvla.safetensors_files import open_sharded
from rfsq_jax.interop.torch_files import read_state_dict
from rfsq_jax.parallel.sharding import make_mesh, spec_for
from rfsq_jax.runs.canonical import canonical
from rfsq_jax.runs.trees import require_same, unflatten

Tensors = dict[str, dict[str, np.ndarray]]
PLACES = 8
"""Numbers of each tensor that its digest covers."""


def load(
    folder: Path,
    config: OpenVLAConfig | None = None,
    mesh: Mesh | None = None,
    dtype: Any = jnp.bfloat16,
) -> tuple[OpenVLAConfig, dict[str, Any]]:
    """Reads a folder as published on the Hugging Face hub, or an Orbax copy of one.

    Args:
      folder: safetensors shards with their index, config.json, and OFT's two `.pt` files; or what
        `convert` made of them.
      config: sizes; by default those in config.json, OFT's where the folder has an action head.
      mesh: where the parameters go; by default one device.
      dtype: of the parameters.

    Returns:
      The config, and the parameters by `layout.RULES`.

    Raises:
      ValueError: if files are missing or damaged, or tensors are missing, unknown or of another
        shape; each is named.
    """
    folder = Path(folder)
    described = detect(folder)
    config = described if config is None else config
    table = parameter_table(config)
    mesh = make_mesh(devices=jax.devices()[:1]) if mesh is None else mesh
    if is_converted(folder):
        return config, read_arrays(folder, table, mesh, dtype)
    tensors = open_tensors(folder, config)
    return config, unflatten(
        {path: _put(path, leaf, tensors[leaf.file], mesh, dtype) for path, leaf in table.items()}
    )


def detect(folder: Path) -> OpenVLAConfig:
    """The sizes in config.json, with OFT's parts where the folder has them.

    Raises:
      ValueError: as `description.read_description` and `converted.read_origin`.
    """
    config = read_description(folder)
    if is_converted(folder):
        return dataclasses.replace(config, oft=read_origin(folder).oft)
    if not list(folder.glob(f"{HEAD}--*.pt")):
        return config
    oft = OFTConfig(proprio=bool(list(folder.glob(f"{PROPRIO}--*.pt"))))
    return dataclasses.replace(config, oft=oft)


def open_tensors(folder: Path, config: OpenVLAConfig) -> Tensors:
    """The tensors of each file, by the checkpoint's names.

    Raises:
      ValueError: if a file is missing or damaged, or there are several of a kind; or tensors are
        missing, unknown or misshapen, each of which is named.
    """
    tensors = {MODEL: open_sharded(folder)}
    if config.oft:
        tensors[HEAD] = _read_side(folder, HEAD)
        if config.oft.proprio:
            tensors[PROPRIO] = _read_side(folder, PROPRIO)
    leaves, unused = parameter_table(config).values(), unused_keys(config)
    wanted = {f"{leaf.file}: {key}": leaf.torch_shape for leaf in leaves for key in leaf.keys}
    found = {
        f"{file}: {key}": tensor.shape
        for file, several in tensors.items()
        for key, tensor in several.items()
        if not (file == MODEL and unused.fullmatch(key))
    }
    require_same(f"{folder} has other tensors than its config", wanted, found)
    return tensors


def _read_side(folder: Path, name: str) -> dict[str, np.ndarray]:
    paths = sorted(folder.glob(f"{name}--*.pt"))
    if len(paths) != 1:
        raise ValueError(
            f"{folder} must have one {name}--*_checkpoint.pt, got {[path.name for path in paths]}"
        )
    return {key.removeprefix("module."): v for key, v in read_state_dict(paths[0]).items()}


def _put(
    path: str, leaf: Leaf, tensors: dict[str, np.ndarray], mesh: Mesh, dtype: Any
) -> jax.Array:
    """Makes a parameter's shards, each out of the tensors that it covers."""
    sharding = NamedSharding(mesh, spec_for(path, RULES))

    def read(index: Any) -> np.ndarray:
        return read_stack(leaf, tensors, index, dtype)

    array = jax.make_array_from_callback(leaf.shape, sharding, read)
    # Before the next one is read, or the host would hold several.
    return array.block_until_ready()


def read_stack(
    leaf: Leaf, tensors: dict[str, np.ndarray], index: tuple[slice, ...], dtype: Any
) -> np.ndarray:
    """The part of a parameter that `index` cuts out, read layer by layer."""
    if not leaf.stacked:
        return np.ascontiguousarray(leaf.convert(tensors[leaf.keys[0]])[index], dtype)
    layers = range(*index[0].indices(len(leaf.keys)))
    shape = [len(range(*i.indices(n))) for i, n in zip(index, leaf.shape, strict=True)]
    shard = np.empty((len(layers), *shape[1:]), dtype)
    for row, layer in zip(shard, layers, strict=True):
        row[...] = leaf.convert(tensors[leaf.keys[layer]])[index[1:]]
    return shard


def version_of(folder: Path, config: OpenVLAConfig, further: dict[str, Any]) -> str:
    """16 hex digits over a checkpoint and whatever else decides what comes out.

    The hash covers the config, the tokenizer, and every tensor that the model runs: name, shape,
    dtype and the bytes of a few of its numbers at seeded places. Training changes nearly every
    number of a model, so that two checkpoints with the same few thousand numbers are the same one.

    Args:
      folder: as `load` takes it.
      config: its sizes.
      further: JSON-compatible.

    Raises:
      ValueError: as `load`, but nothing is loaded.
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
    return weights_digest(config, open_tensors(folder, config)).hexdigest()


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
