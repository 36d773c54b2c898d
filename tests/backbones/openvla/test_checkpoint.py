"""Checkpoints that are whole load as they are; in others, what is wrong is named."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch")

from rfsq_jax.backbones.openvla.checkpoint import load
from rfsq_jax.backbones.openvla.config import OPENVLA_7B, OPENVLA_OFT_7B, TINY, TINY_OFT
from rfsq_jax.backbones.openvla.layout import RULES, abstract_params, parameter_table
from rfsq_jax.training.sharding import make_mesh, tree_shardings
from tests.backbones.openvla.folders import write_folder, write_safetensors

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


@pytest.mark.parametrize("change", ["missing", "extra", "misshapen"])
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, change: str) -> None:
    files = tensors()
    key = "surplus" if change == "extra" else KEY
    if change == "missing":
        del files["model"][key]
    else:
        files["model"][key] = np.ones((2, 3), np.float32)
    write_folder(tmp_path, files)
    with pytest.raises(ValueError, match=key):
        load(tmp_path, TINY)


def test_truncated_shard_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, tensors())
    shard = tmp_path / "model-00002-of-00004.safetensors"
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"00002.*is cut short: .* should end at byte"):
        load(tmp_path, TINY)


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
