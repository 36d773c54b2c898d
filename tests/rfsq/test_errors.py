"""Bad latents, codes and configs are refused by name."""

import jax
import numpy as np
import pytest

from rfsq_jax import rfsq
from rfsq_jax.rfsq import RFSQConfig
from tests.support.latents import sample


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
