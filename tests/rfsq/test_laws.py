"""The laws of the quantiser, eager and jitted, on one and on eight devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from rfsq_jax import rfsq
from rfsq_jax.rfsq import RFSQConfig
from tests.support.latents import DISTRIBUTIONS, calibrated, sample

pytestmark = pytest.mark.numerics

configs = st.builds(
    RFSQConfig,
    dim=st.integers(1, 9),
    num_layers=st.integers(1, 6),
    num_levels=st.integers(2, 16),
    conditioning=st.sampled_from(["none", "scale", "layernorm"]),
)
shapes = st.lists(st.integers(1, 5), min_size=0, max_size=3).map(tuple)


@given(configs, shapes, st.sampled_from(sorted(DISTRIBUTIONS)), st.integers(0, 99))
def test_codes_alone_give_the_forward_values_bit_for_bit(config, shape, name, seed):
    z = sample(name, (*shape, config.dim), seed)
    state = calibrated(config, sample(name, (256, config.dim), seed + 1))
    z_hat, codes, _ = rfsq.quantize(config, state, z)
    assert codes.shape == (*shape, config.dim, config.num_layers)
    assert codes.dtype == jnp.int32
    np.testing.assert_array_equal(rfsq.encode(config, state, z), codes)
    np.testing.assert_array_equal(rfsq.decode(config, state, codes), z_hat)
    with jax.disable_jit():
        np.testing.assert_array_equal(rfsq.encode(config, state, z), codes)
        np.testing.assert_array_equal(rfsq.decode(config, state, codes), z_hat)


@given(configs, st.integers(0, 99))
def test_codes_do_not_depend_on_the_batch_or_the_transformation(config, seed):
    z = sample("normal", (6, config.dim), seed)
    state = calibrated(config, sample("normal", (256, config.dim), seed + 1))
    codes = rfsq.encode(config, state, z)
    alone = jnp.stack([rfsq.encode(config, state, row) for row in z])
    np.testing.assert_array_equal(alone, codes)
    mapped = jax.vmap(lambda row: rfsq.encode(config, state, row))(z)
    np.testing.assert_array_equal(mapped, codes)
    closed_over = jax.jit(lambda rows: rfsq.encode(config, state, rows))(z)
    np.testing.assert_array_equal(closed_over, codes)
    _, scanned = jax.lax.scan(lambda _, row: (None, rfsq.encode(config, state, row)), None, z)
    np.testing.assert_array_equal(scanned, codes)


@pytest.mark.parametrize("axis", [0, 1])
def test_codes_are_the_same_on_eight_devices(axis):
    config = RFSQConfig(dim=8)
    z = sample("normal", (16, 8))
    state = rfsq.calibrate(config, z)
    mesh = jax.make_mesh((8,), ("devices",))
    spec = PartitionSpec(*["devices" if dim == axis else None for dim in range(2)])
    spread = jax.device_put(z, NamedSharding(mesh, spec))
    codes = rfsq.encode(config, state, spread)
    assert len(codes.sharding.device_set) == 8
    np.testing.assert_array_equal(codes, rfsq.encode(config, state, z))
    np.testing.assert_array_equal(
        rfsq.decode(config, state, codes), rfsq.quantize(config, state, z)[0]
    )


@given(configs, st.sampled_from(sorted(DISTRIBUTIONS)))
def test_decode_agrees_with_numpy(config, name):
    z = sample(name, (5, config.dim))
    state = calibrated(config, sample(name, (256, config.dim), 1))
    codes = np.asarray(rfsq.encode(config, state, z))
    mean, scale = (np.asarray(part, np.float64).T for part in state)
    grid = np.linspace(-1, 1, config.num_levels)
    expected = np.sum(grid[codes] * scale + mean, axis=-1)
    tolerance = 1e-4 * np.abs(scale).max() + 1e-6 * np.abs(mean).max()
    np.testing.assert_allclose(rfsq.decode(config, state, codes), expected, atol=tolerance)


@given(configs, st.sampled_from(sorted(DISTRIBUTIONS)))
def test_each_layer_takes_the_nearest_level(config, name):
    z = sample(name, (64, config.dim))
    state = calibrated(config, sample(name, (256, config.dim), 1))
    codes = np.asarray(rfsq.encode(config, state, z))
    residual = z.astype(np.float64)
    grid = np.linspace(-1, 1, config.num_levels)
    for layer in range(config.num_layers):
        mean, scale = (np.asarray(part[layer], np.float64) for part in state)
        levels = grid[:, None, None] * scale + mean
        distance = np.abs(levels - residual)
        chosen = np.take_along_axis(distance, codes[None, ..., layer], axis=0)[0]
        slack = 1e-4 * scale + 1e-6 * np.abs(z).max(axis=0)
        assert (chosen <= distance.min(axis=0) + slack).all()
        residual = residual - np.take_along_axis(levels, codes[None, ..., layer], axis=0)[0]


@pytest.mark.parametrize("num_levels", [3, 4, 7, 8])
@pytest.mark.parametrize("name", sorted(DISTRIBUTIONS))
def test_every_prefix_decodes_and_the_error_never_grows(num_levels, name):
    config = RFSQConfig(num_levels=num_levels)
    z = sample(name, (4096, 16))
    state = rfsq.calibrate(config, z)
    codes = rfsq.encode(config, state, z)
    errors = []
    for layers in range(1, config.num_layers + 1):
        part = rfsq.decode(config, state, codes, num_layers=layers)
        np.testing.assert_array_equal(part, rfsq.decode(config, state, codes[..., :layers]))
        kept, _, _ = rfsq.quantize(config, state, z, keep=jnp.full(4096, layers))
        np.testing.assert_array_equal(part, kept)
        errors.append(float(jnp.mean((part - z) ** 2)))
    float32_resolution = 1e-13 * float(np.mean(z**2))
    errors = [max(error, float32_resolution) for error in errors]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("num_levels", [6, 7])
@pytest.mark.parametrize("name", ["uniform", "shifted", "per dim"])
def test_every_robust_layer_is_alive(num_levels, name):
    config = RFSQConfig(num_levels=num_levels)
    z = sample(name, (8192, 16))
    health = rfsq.health(config, rfsq.calibrate(config, z), z)
    assert (health.normalized_std >= 0.5).all()
    assert (health.normalized_std <= 2).all()
    assert health.histogram.max() <= 0.9
    assert (health.perplexity > 2).all()
    assert health.residual_std[-1] < 1e-3 * health.residual_std[0]


@given(st.sampled_from([3, 5, 7, 9, 15]), st.integers(0, 99))
def test_naive_layers_behind_the_first_are_constant_for_odd_levels(num_levels, seed):
    config = RFSQConfig(num_levels=num_levels, conditioning="none")
    z = sample("uniform", (64, 16), seed)
    codes = np.asarray(rfsq.encode(config, rfsq.init(config), z))
    assert (codes[..., 1:] == (num_levels - 1) // 2).all()
    health = rfsq.health(config, rfsq.init(config), z)
    np.testing.assert_allclose(health.perplexity[1:], 1.0, atol=1e-5)


def test_zero_is_a_level_for_odd_counts_and_half_a_step_away_for_even():
    for num_levels in (2, 3, 6, 7):
        config = RFSQConfig(dim=1, num_layers=1, num_levels=num_levels, conditioning="none")
        z_hat, _, _ = rfsq.quantize(config, rfsq.init(config), jnp.zeros(1))
        expected = 0.0 if num_levels % 2 else 1 / (num_levels - 1)
        assert abs(float(z_hat[0])) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_low_precision_latents_give_float32_values(dtype):
    config = RFSQConfig()
    z = jnp.asarray(sample("uniform", (64, 16)), dtype)
    state = rfsq.calibrate(config, z)
    z_hat, codes, _ = rfsq.quantize(config, state, z)
    assert z_hat.dtype == jnp.float32
    np.testing.assert_array_equal(rfsq.decode(config, state, codes), z_hat)


@given(configs, st.integers(0, 99))
def test_expected_levels_give_the_expected_vector(config, seed):
    rng = np.random.default_rng(seed)
    state = calibrated(config, sample("normal", (256, config.dim), seed))
    codes = rng.integers(0, config.num_levels, (5, 3, config.dim, config.num_layers))
    codes = codes.astype(np.int32)
    vectors = np.asarray(rfsq.decode(config, state, codes))
    levels = codes.astype(np.float32)
    np.testing.assert_array_equal(rfsq.decode_levels(config, state, levels), vectors)
    expected = rfsq.decode_levels(config, state, levels.mean(axis=0))
    np.testing.assert_allclose(expected, vectors.mean(axis=0), rtol=1e-4, atol=1e-4)


def test_levels_must_fit():
    config = RFSQConfig(dim=4, num_layers=2)
    with pytest.raises(ValueError, match="levels must have shape"):
        rfsq.decode_levels(config, rfsq.init(config), np.zeros((4, 3), np.float32))
