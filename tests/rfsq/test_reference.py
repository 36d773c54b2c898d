"""Parity with the reference experiment: per-token statistics and its options."""

import numpy as np
import pytest

from rfsq_jax import rfsq
from rfsq_jax.rfsq import RFSQConfig
from tests.support.latents import sample

pytestmark = pytest.mark.numerics


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
