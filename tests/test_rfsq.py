"""The laws of the quantiser, eager and jitted, on one and on eight devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from rfsq_jax import rfsq
from rfsq_jax.rfsq import RFSQConfig, RFSQState

DISTRIBUTIONS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, size=shape),
    "shifted": lambda rng, shape: 3.0 + 0.1 * np.tanh(rng.normal(size=shape)),
    "per dim": lambda rng, shape: rng.uniform(-1, 1, size=shape) * np.logspace(-2, 2, shape[-1]),
}


def sample(name: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return DISTRIBUTIONS[name](np.random.default_rng(seed), shape).astype(np.float32)


def calibrated(config: RFSQConfig, z: np.ndarray) -> RFSQState:
    if config.conditioning == "layernorm":
        return rfsq.calibrate(config, z)
    state = rfsq.init(config)
    if config.conditioning == "scale":
        layers = np.arange(config.num_layers, dtype=np.float32)[:, None]
        return state._replace(
            scale=jnp.asarray(0.7 * 0.3**layers * np.ones(state.scale.shape, np.float32))
        )
    return state


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


def test_zero_is_a_level_for_odd_counts_and_half_a_step_away_for_even():
    for num_levels in (2, 3, 6, 7):
        config = RFSQConfig(dim=1, num_layers=1, num_levels=num_levels, conditioning="none")
        z_hat, _, _ = rfsq.quantize(config, rfsq.init(config), jnp.zeros(1))
        expected = 0.0 if num_levels % 2 else 1 / (num_levels - 1)
        assert abs(float(z_hat[0])) == pytest.approx(expected, rel=1e-4)


def test_tracked_statistics_approach_the_calibrated_ones():
    config = RFSQConfig(decay=0.9)
    # Repeated rows: tracking reads a regular part of the vectors, calibration all.
    z = np.repeat(sample("uniform", (2048, 16)) * 0.3 + 1.0, 4, axis=0)
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


@pytest.mark.parametrize("num_levels", [6, 7])
def test_per_token_statistics_agree_with_the_reference_formula(num_levels):
    config = RFSQConfig(num_levels=num_levels, statistics="per_token")
    z = sample("normal", (5, 8, 16))
    z_hat, codes, _ = rfsq.quantize(config, rfsq.init(config), z)
    residual, total = z.astype(np.float64), 0.0
    grid = np.linspace(-1, 1, num_levels)
    for layer in range(config.num_layers):
        mean = residual.mean(-1, keepdims=True)
        scale = residual.std(-1, keepdims=True, ddof=1) + 1e-5
        normalised = (residual - mean) / scale
        nearest = np.abs(normalised[..., None] - grid).argmin(-1)
        if layer == 0:
            np.testing.assert_array_equal(codes[..., 0], nearest)
        value = grid[np.asarray(codes[..., layer])] * scale + mean
        total, residual = total + value, residual - value
    np.testing.assert_allclose(z_hat, total, atol=2e-4)


def test_per_token_decoding_demands_its_side_information():
    config = RFSQConfig(statistics="per_token")
    z = sample("normal", (5, 8, 16))
    z_hat, codes, _ = rfsq.quantize(config, rfsq.init(config), z)
    with pytest.raises(ValueError, match="needs side information"):
        rfsq.decode(config, rfsq.init(config), codes)
    side = rfsq.token_statistics(config, z)
    restored = rfsq.decode(config, rfsq.init(config), codes, side=side)
    np.testing.assert_allclose(restored, z_hat, atol=1e-5)
    frozen = RFSQConfig()
    with pytest.raises(ValueError, match="does not take side information"):
        rfsq.decode(frozen, rfsq.init(frozen), codes, side=side)


@pytest.mark.parametrize("use_layernorm", [True, False])
def test_reference_options_translate(use_layernorm):
    config = rfsq.config_from_reference({"use_layernorm": use_layernorm, "num_levels": 5})
    assert config.conditioning == ("layernorm" if use_layernorm else "none")
    assert config.num_levels == 5
    with pytest.raises(ValueError, match="use_layernorms"):
        rfsq.config_from_reference({"use_layernorms": True})
    with pytest.raises(ValueError, match="got both"):
        rfsq.config_from_reference({"use_layernorm": True, "conditioning": "none"})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_latents_must_be_finite(bad):
    config = RFSQConfig()
    z = sample("normal", (2, 16))
    z[1, 3] = bad
    for function in (rfsq.encode, rfsq.quantize):
        with pytest.raises(ValueError, match="finite, got 1 NaN or inf of 32"):
            function(config, rfsq.init(config), z)
    with pytest.raises(ValueError, match="finite"):
        rfsq.calibrate(config, z)


def test_latents_must_fit():
    config = RFSQConfig()
    with pytest.raises(ValueError, match=r"shape \[\.\.\., 16\], got \(2, 15\)"):
        rfsq.encode(config, rfsq.init(config), np.zeros((2, 15), np.float32))
    with pytest.raises(TypeError, match="floating point, got int32"):
        rfsq.encode(config, rfsq.init(config), np.zeros((2, 16), np.int32))
    with pytest.raises(ValueError, match=r"got \(2, 15\)"):
        jax.jit(lambda z: rfsq.encode(config, rfsq.init(config), z))(np.zeros((2, 15), np.float32))


@pytest.mark.parametrize("code", [-1, 7])
def test_codes_out_of_range_are_refused(code):
    config = RFSQConfig()
    codes = np.zeros((2, 16, 8), np.int32)
    codes[0, 0, 0] = code
    with pytest.raises(ValueError, match=r"in \[0, 7\)"):
        rfsq.decode(config, rfsq.init(config), codes)


def test_codes_must_fit():
    config = RFSQConfig()
    state = rfsq.init(config)
    with pytest.raises(ValueError, match="codes must have shape"):
        rfsq.decode(config, state, np.zeros((2, 16, 9), np.int32))
    with pytest.raises(TypeError, match="integers, got float32"):
        rfsq.decode(config, state, np.zeros((2, 16, 8), np.float32))
    with pytest.raises(ValueError, match="num_layers must be 1 to 8, got 0"):
        rfsq.decode(config, state, np.zeros((2, 16, 8), np.int32), num_layers=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "dim must be at least 1, got 0"),
        ({"num_levels": 1}, "num_levels must be 2 to 128, got 1"),
        ({"conditioning": "batchnorm"}, "conditioning must be one of"),
        ({"statistics": "moving"}, "statistics must be one of"),
        ({"statistics": "per_token", "conditioning": "none"}, "conditioning must be"),
        ({"decay": 1.0}, "decay must be in"),
    ],
)
def test_configs_validate_themselves(options, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        RFSQConfig(**options)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_low_precision_latents_give_float32_values(dtype):
    config = RFSQConfig()
    z = jnp.asarray(sample("uniform", (64, 16)), dtype)
    state = rfsq.calibrate(config, z)
    z_hat, codes, _ = rfsq.quantize(config, state, z)
    assert z_hat.dtype == jnp.float32
    np.testing.assert_array_equal(rfsq.decode(config, state, codes), z_hat)


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
