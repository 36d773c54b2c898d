"""Meshes and the table from names to axes."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from rfsq_jax.parallel import sharding

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
