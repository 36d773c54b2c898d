"""A batch in parts has the gradient of the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rfsq_jax.training.gradients import gradient_in_parts


def objective(params, batch, key, scale):
    error = jnp.mean(jnp.square(batch["x"] @ params["w"] - batch["y"]), axis=1)
    return scale * jnp.mean(error), {"loss": jnp.mean(error), "rows": jnp.float32(len(error))}


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    batch = {name: rng.normal(size=(12, width)) for name, width in (("x", 3), ("y", 2))}
    return {"w": jnp.asarray(rng.normal(size=(3, 2)))}, jax.tree.map(jnp.asarray, batch)


@pytest.mark.parametrize("parts", [2, 3, 12])
def test_parts_add_up(inputs, parts):
    params, batch = inputs
    key, scale = jax.random.key(0), 3.0
    metrics, gradients = gradient_in_parts(objective, 1)(params, batch, key, scale)
    found = jax.jit(gradient_in_parts(objective, parts))(params, batch, key, scale)
    np.testing.assert_allclose(found[1]["w"], gradients["w"], rtol=1e-5)
    np.testing.assert_allclose(found[0]["loss"], metrics["loss"], rtol=1e-5)
    assert found[0]["rows"] == 12 / parts


def test_every_part_has_a_key_of_its_own(inputs):
    def drawn(params, batch, key):
        noise = jax.random.normal(key)
        return noise * jnp.sum(params["w"]), {"noise": noise, "squared": noise**2}

    metrics, gradients = gradient_in_parts(drawn, 4)(*inputs, jax.random.key(1))
    assert float(metrics["squared"]) > float(metrics["noise"]) ** 2
    np.testing.assert_allclose(gradients["w"], metrics["noise"], rtol=1e-6)
