"""What is learned: gradients, tracked statistics, balance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rfsq_jax import rfsq
from rfsq_jax.rfsq import RFSQConfig
from tests.support.latents import calibrated, sample

pytestmark = pytest.mark.numerics


@pytest.mark.parametrize("num_levels", [2, 3, 6, 7])
@pytest.mark.parametrize("conditioning", ["none", "scale", "layernorm"])
def test_gradients_are_finite_at_saturation(num_levels, conditioning):
    config = RFSQConfig(dim=3, num_layers=3, num_levels=num_levels, conditioning=conditioning)
    state = calibrated(config, sample("normal", (64, 3)))
    z = jnp.array([[-1e6, 0.0, 1e6], [-1e30, 1e-30, 1e30]])

    def loss(z, scale):
        z_hat, _, _ = rfsq.quantize(config, state._replace(scale=scale), z)
        return jnp.mean(jnp.tanh(z_hat))

    gradients = jax.grad(loss, argnums=(0, 1))(z, state.scale)
    assert all(jnp.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("conditioning", ["none", "layernorm"])
def test_the_gradient_goes_straight_through(conditioning):
    config = RFSQConfig(conditioning=conditioning)
    z = sample("normal", (4, 16))
    state = calibrated(config, z)
    gradient = jax.grad(lambda z: rfsq.quantize(config, state, z)[0].sum())(z)
    np.testing.assert_array_equal(gradient, np.ones_like(z))


def test_a_learned_scale_gets_the_gradient_that_shrinks_the_error():
    config = RFSQConfig(num_layers=1, num_levels=3, conditioning="scale")
    z = sample("uniform", (2048, 16)) * 5
    state = rfsq.init(config)

    def error(scale):
        return jnp.mean((rfsq.quantize(config, state._replace(scale=scale), z)[0] - z) ** 2)

    moved = state.scale - 0.5 * jax.grad(error)(state.scale)
    assert error(moved) < error(state.scale)


def test_tracked_statistics_approach_the_calibrated_ones():
    config = RFSQConfig(decay=0.9)
    # Repeated rows: tracking reads a regular part of the vectors, calibration all.
    z = np.repeat(sample("uniform", (2048, 16)) * 0.3 + 1.0, 8, axis=0)
    state = rfsq.init(config)
    step = jax.jit(lambda state: rfsq.quantize(config, state, z, train=True)[2])
    for _ in range(400):
        state = step(state)
    expected = rfsq.calibrate(config, z)
    np.testing.assert_allclose(state.mean[0], expected.mean[0], rtol=1e-3)
    np.testing.assert_allclose(state.scale, expected.scale, rtol=0.2)


@pytest.mark.parametrize("conditioning", ["none", "scale"])
def test_only_the_robust_quantiser_tracks(conditioning):
    config = RFSQConfig(conditioning=conditioning)
    state = rfsq.init(config)
    _, _, moved = rfsq.quantize(config, state, sample("normal", (8, 16)), train=True)
    np.testing.assert_array_equal(moved.scale, state.scale)


def test_balance_is_zero_for_even_use_and_has_a_gradient():
    config = RFSQConfig(dim=2, conditioning="none")
    state = rfsq.init(config)
    even = jnp.linspace(-1.15, 1.15, 4001)[:, None] * jnp.ones((1, 2))
    crowded = 0.05 * even
    assert rfsq.balance(config, state, even) < 0.01
    assert rfsq.balance(config, state, crowded) > 0.3
    gradient = jax.grad(lambda z: rfsq.balance(config, state, z))(crowded)
    assert jnp.isfinite(gradient).all()
    assert rfsq.balance(config, state, crowded - 100 * gradient) < rfsq.balance(
        config, state, crowded
    )
