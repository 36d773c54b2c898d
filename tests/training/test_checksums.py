"""Checksums see every change, and no difference in where arrays are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from rfsq_jax.parallel import sharding
from rfsq_jax.training.checksums import checksums

DTYPES = ("float32", "bfloat16", "int8", "bool", "int32", "uint32")


def array(dtype, seed=0):
    return np.random.default_rng(seed).normal(size=(8, 6)).astype(jnp.dtype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", [("data",), (None, "tensor"), ("data", "tensor"), ()])
def test_where_the_parts_are_does_not_matter(dtype, spec):
    mesh = sharding.make_mesh(data=4, tensor=2)
    tree = {"a": array(dtype), "b": np.float32(3.0)}
    placed = {
        "a": jax.device_put(tree["a"], NamedSharding(mesh, PartitionSpec(*spec))),
        "b": jax.device_put(tree["b"], NamedSharding(mesh, PartitionSpec())),
    }
    assert checksums(placed) == checksums(jax.device_put(tree))


@given(st.integers(0, 47), st.integers(0, 31))
def test_one_flipped_bit_is_seen(place, bit):
    values = array("float32")
    before = checksums([jnp.asarray(values)])
    values.view(np.uint32).reshape(-1)[place] ^= np.uint32(1 << bit)
    assert checksums([jnp.asarray(values)]) != before


@given(st.integers(0, 47), st.integers(0, 47))
def test_two_elements_exchanged_are_seen(first, second):
    values = np.arange(48, dtype=np.float32)
    before = checksums([jnp.asarray(values)])
    values[[first, second]] = values[[second, first]]
    assert (checksums([jnp.asarray(values)]) != before) == (first != second)


def test_leaves_are_named():
    assert checksums({"a": {"b": jnp.zeros(2)}}).keys() == {"a/b"}
    assert checksums({"a": jnp.zeros((0, 3))}) == {"a": 0}
