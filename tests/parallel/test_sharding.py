"""Meshes and the table from names to axes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from rfsq_jax.parallel import sharding
from rfsq_jax.training.state import TrainState

RULES = ((r".*/kernel", PartitionSpec("fsdp")), (r".*/bias", PartitionSpec()))


def test_the_first_rule_that_matches_the_whole_path_counts():
    assert sharding.spec_for("params/a/kernel", RULES) == PartitionSpec("fsdp")
    with pytest.raises(KeyError, match="no sharding rule for 'params/a/scale'"):
        sharding.spec_for("params/a/scale", RULES)


def test_arrays_are_placed_by_name():
    mesh = sharding.make_mesh(data=2, fsdp=4)
    tree = {"layer": {"kernel": jnp.ones((8, 2)), "bias": jnp.ones(2)}}
    placed = sharding.place(tree, mesh, RULES)
    assert placed["layer"]["kernel"].addressable_shards[0].data.shape == (2, 2)
    assert placed["layer"]["bias"].addressable_shards[0].data.shape == (2,)


def test_one_axis_takes_what_is_left():
    assert sharding.make_mesh().shape == {"data": 8, "fsdp": 1, "tensor": 1}
    assert sharding.make_mesh(tensor=2).shape == {"data": 4, "fsdp": 1, "tensor": 2}


@pytest.mark.parametrize("axes", [{"data": 3}, {"data": 16}, {"data": 0}, {"data": -1, "fsdp": -1}])
def test_a_mesh_must_fit_the_devices(axes):
    with pytest.raises(ValueError, match="mesh"):
        sharding.make_mesh(**axes)


def test_batches_are_split_on_their_first_axis():
    mesh = sharding.make_mesh(data=4, fsdp=2)
    batch = jax.device_put(jnp.ones((16, 3)), sharding.batch_sharding(mesh))
    assert batch.addressable_shards[0].data.shape == (2, 3)


def test_moments_and_averages_live_where_their_parameter_does():
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    params = {"a": {"kernel": jnp.ones((8, 2)), "bias": jnp.ones(2)}}
    state = TrainState.create(params, optimizer, model_state=jnp.ones(3), ema_params=params)
    mesh = sharding.make_mesh(data=2, fsdp=4)
    with pytest.raises(KeyError, match="no sharding rule for 'model_state'"):
        sharding.place(state, mesh, RULES, sharding.state_spec)
    state = dataclasses.replace(state, model_state={"scale": jnp.ones(3)})
    placed = sharding.place(state, mesh, RULES, sharding.state_spec)
    split = {
        sharding.leaf_path(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(placed)
        if not leaf.is_fully_replicated
    }
    assert split == {f"{each}/a/kernel" for each in (
        "params", "ema_params", "opt_state/1/0/mu", "opt_state/1/0/nu"
    )}  # fmt: skip


def test_what_cannot_be_split_is_named():
    mesh = sharding.make_mesh(data=2, fsdp=4)
    message = r"mesh fsdp must divide a/kernel of shape \(6, 2\), got 4"
    with pytest.raises(ValueError, match=message):
        sharding.place({"a": {"kernel": jnp.ones((6, 2))}}, mesh, RULES)
    with pytest.raises(ValueError, match=r"batch_size must be a multiple of 8, .* got 12"):
        sharding.require_divisible(12, mesh)


@pytest.mark.parametrize("axes", [{"data": 0}, {"fsdp": -2}, {"data": -1, "tensor": -1}])
def test_a_mesh_that_cannot_be_is_refused_at_once(axes):
    with pytest.raises(ValueError, match="mesh ax"):
        sharding.MeshConfig(**axes)


def test_parts_are_fetched_whole():
    mesh = sharding.MeshConfig(fsdp=4).make()
    tree = {"layer": {"kernel": jnp.arange(16.0).reshape(8, 2), "bias": jnp.ones(2)}}
    placed = sharding.place(tree, mesh, RULES)
    jax.tree.map(np.testing.assert_array_equal, sharding.fetch(placed), tree)
