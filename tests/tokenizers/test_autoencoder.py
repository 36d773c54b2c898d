"""The autoencoder against a numpy forward pass written from the reference's description."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rfsq_jax import rfsq
from rfsq_jax.rfsq import RFSQConfig
from rfsq_jax.tokenizers import autoencoder
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig


def linear(x, layer):
    return x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)


def mish(x):
    return x * np.tanh(np.log1p(np.exp(x)))


@pytest.fixture
def actions():
    return np.random.default_rng(0).uniform(-1, 1, (5, 8, 7)).astype(np.float32)


@pytest.mark.parametrize("conditioning", ["none", "scale", "layernorm"])
def test_forward_agrees_with_numpy(actions, conditioning):
    config = AutoencoderConfig(rfsq=RFSQConfig(conditioning=conditioning))
    params, state = autoencoder.init(config, jax.random.key(0))
    latents = np.tanh(linear(mish(linear(actions, params["encoder_in"])), params["encoder_out"]))
    np.testing.assert_allclose(
        autoencoder.latents(config, params, actions), latents, rtol=1e-5, atol=1e-6
    )
    fixed = autoencoder.constants(config, params, state)
    quantized, codes, _ = rfsq.quantize(config.rfsq, fixed, latents.astype(np.float32))
    values = np.asarray(quantized, np.float64)
    expected = linear(mish(linear(values, params["decoder_in"])), params["decoder_out"])
    restored = autoencoder.decode(config, params, state, codes)
    np.testing.assert_allclose(restored, expected, rtol=1e-4, atol=1e-5)


def test_mish_agrees_with_the_library_and_so_does_its_gradient():
    x = jnp.concatenate([jnp.linspace(-30, 30, 601), jnp.array([-1e4, -90.0, 90.0, 1e4])])
    np.testing.assert_allclose(autoencoder.mish(x), jax.nn.mish(x), rtol=2e-6, atol=1e-6)
    ours, theirs = (jax.vmap(jax.grad(f))(x) for f in (autoencoder.mish, jax.nn.mish))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_reference_shape_has_its_parameters():
    params, _ = autoencoder.init(AutoencoderConfig(), jax.random.key(0))
    shapes = {name: layer["kernel"].shape for name, layer in params.items()}
    assert shapes == {
        "encoder_in": (7, 64),
        "encoder_out": (64, 16),
        "decoder_in": (16, 64),
        "decoder_out": (64, 7),
    }
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 3095


@pytest.mark.parametrize("conditioning", ["none", "scale", "layernorm"])
def test_tokens_decode_to_the_forward_values(actions, conditioning):
    config = AutoencoderConfig(rfsq=RFSQConfig(conditioning=conditioning))
    params, state = autoencoder.init(config, jax.random.key(0))
    codes = autoencoder.encode(config, params, state, actions)
    decoded = autoencoder.decode(config, params, state, codes)
    np.testing.assert_array_equal(decoded, autoencoder.forward(config, params, state, actions))


def test_the_time_axis_is_not_mixed(actions):
    config = AutoencoderConfig()
    params, state = autoencoder.init(config, jax.random.key(0))
    whole = autoencoder.forward(config, params, state, actions)
    steps = autoencoder.forward(config, params, state, actions.reshape(-1, 7))
    np.testing.assert_array_equal(whole.reshape(-1, 7), steps)
