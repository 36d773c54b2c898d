"""Means over rows do not depend on blocks or devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rfsq_jax.parallel import sharding
from rfsq_jax.training.row_means import row_means


def values(scale, batch):
    return {"sum": scale * jnp.sum(batch, axis=1), "least": jnp.min(batch, axis=1)}


@pytest.mark.parametrize("rows", [1, 7, 16, 33])
@pytest.mark.parametrize(("devices", "block"), [(1, 4), (1, 100), (8, 4), (8, 16)])
def test_they_are_those_of_numpy(rows, devices, block):
    data = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
    mesh = sharding.make_mesh(devices=jax.devices()[:devices])
    found = row_means(values, mesh, block)(2.0, data.__getitem__, rows)
    assert found["sum"] == pytest.approx(2.0 * data.sum(axis=1).mean(), abs=1e-5)
    assert found["least"] == pytest.approx(data.min(axis=1).mean(), abs=1e-5)
