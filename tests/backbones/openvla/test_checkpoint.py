"""Checkpoints that are whole load as they are; in others, what is wrong is named."""

import json
import os
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from rfsq_jax.backbones.openvla.checkpoint import load
from rfsq_jax.backbones.openvla.config import OPENVLA_7B, OPENVLA_OFT_7B, TINY, TINY_OFT
from rfsq_jax.backbones.openvla.layout import PROPRIO, RULES, abstract_params, parameter_table
from rfsq_jax.parallel.sharding import make_mesh, tree_shardings
from tests.support.openvla_folders import write_folder, write_safetensors

KEY = "language_model.model.layers.1.mlp.down_proj.weight"
UNUSED = ("vision_backbone.featurizer.norm.weight", "vision_backbone.featurizer.blocks.3.ls1.x")


def tensors() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    files: dict[str, dict[str, np.ndarray]] = {}
    for leaf in parameter_table(TINY_OFT).values():
        for key in leaf.keys:
            value = rng.normal(size=leaf.torch_shape).astype(np.float32)
            files.setdefault(leaf.file, {})[key] = value
    files["model"] |= {key: np.ones(3, np.float32) for key in UNUSED}
    return files


def test_every_full_size_parameter_can_be_split_eight_ways() -> None:
    mesh = make_mesh(data=1, tensor=8)
    params = abstract_params(OPENVLA_OFT_7B)
    for leaf, sharding in zip(
        jax.tree.leaves(params), jax.tree.leaves(tree_shardings(params, mesh, RULES)), strict=True
    ):
        assert len(sharding.shard_shape(leaf.shape)) == leaf.ndim


def test_published_names() -> None:
    """The full model's table has as many tensors and numbers as the published file's used part."""
    leaves = parameter_table(OPENVLA_7B).values()
    executed = 290_630_656 + 397_200_544 + 71_385_600 + 6_738_939_904
    assert sum(len(x.keys) * int(np.prod(x.torch_shape)) for x in leaves) == executed


def test_sharded_over_devices(tmp_path: Path) -> None:
    files = tensors()
    write_folder(tmp_path, files)
    mesh = make_mesh(data=2, fsdp=2, tensor=2)
    _, params = load(tmp_path, TINY_OFT, mesh, jnp.float32)
    down = params["llm"]["layers"]["down"]["kernel"]
    np.testing.assert_array_equal(down[1], files["model"][KEY].T)
    assert down.addressable_shards[0].data.shape == (3, 44, 16)
    assert jax.tree.leaves(load(tmp_path, TINY_OFT)[1])[0].dtype == jnp.bfloat16


CHANGES = ("missing", "extra", "misshapen")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("file", "key"), [("model", KEY), ("action_head", "model.fc2.bias"), (PROPRIO, "fc1.weight")]
)
def test_tensors_that_do_not_fit_are_named(
    tmp_path: Path, file: str, key: str, change: str
) -> None:
    files = tensors()
    message = spoil(files[file], key, change)
    write_folder(tmp_path, files)
    with pytest.raises(ValueError, match=f"{file}: {message}$"):
        load(tmp_path, TINY_OFT)


def test_each_is_named(tmp_path: Path) -> None:
    files = tensors()
    keys = [KEY.replace("layers.1", f"layers.{layer}") for layer in range(3)]
    messages = [spoil(files["model"], *each) for each in zip(keys, CHANGES, strict=True)]
    write_folder(tmp_path, files)
    with pytest.raises(ValueError, match="; model: ".join(messages)):
        load(tmp_path, TINY_OFT)


def spoil(several: dict[str, np.ndarray], key: str, change: str) -> str:
    """Makes a tensor not fit, and returns the pattern of what must be said of it."""
    if change == "extra":
        several[f"{key}.surplus"] = np.ones((2, 3), np.float32)
        return re.escape(f"{key}.surplus expected nothing, got (2, 3)")
    shape = several[key].shape
    if change == "missing":
        del several[key]
        return re.escape(f"{key} expected {shape}, got nothing")
    several[key] = np.ones((2, 3), np.float32)
    return re.escape(f"{key} expected {shape}, got (2, 3)")


def test_truncated_tensors_are_each_named(tmp_path: Path) -> None:
    files = tensors()
    write_folder(tmp_path, files)
    shard = tmp_path / "model-00002-of-00004.safetensors"
    *_, before, last = list(files["model"])[1::4]
    shard.write_bytes(shard.read_bytes()[: -files["model"][last].nbytes - 5])
    both = rf"00002.*is cut short.*: {re.escape(before)} should end .*; {re.escape(last)} should"
    with pytest.raises(ValueError, match=both):
        load(tmp_path, TINY_OFT)


@pytest.mark.parametrize("side", ["action_head", PROPRIO])
def test_truncated_side_files_are_named(tmp_path: Path, side: str) -> None:
    write_folder(tmp_path, tensors())
    path = tmp_path / f"{side}--150000_checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=f"{path.name} is no state dict that can be read"):
        load(tmp_path, TINY_OFT)


def test_side_files_are_not_run(tmp_path: Path) -> None:
    write_folder(tmp_path, tensors())
    proof = tmp_path / "proof"
    path = tmp_path / "action_head--150000_checkpoint.pt"
    torch.save({"module.model.fc1.weight": Runs(proof)}, path)
    with pytest.raises(ValueError, match=rf"{path.name}.* asks for .*mkdir"):
        load(tmp_path, TINY_OFT)
    assert not proof.exists()
    torch.load(path, weights_only=False)
    assert proof.exists()


class Runs:
    """Makes a folder when its pickle is run."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model-00002-of-00004.safetensors", "00002.*is missing"),
        ("config.json", r"config\.json is missing"),
        ("action_head--150000_checkpoint.pt", "must have one action_head"),
    ],
)
def test_missing_file_is_named(tmp_path: Path, name: str, message: str) -> None:
    write_folder(tmp_path, tensors())
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=message):
        load(tmp_path, TINY_OFT)


def test_index_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "outside.safetensors", {"x": np.ones(1, np.float32)})
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    write_folder(folder, tensors())
    index = {"weight_map": {"x": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="must give a file name for x"):
        load(folder, TINY)
