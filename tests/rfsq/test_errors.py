"""Bad latents, codes and configs are refused by name."""

from typing import Any

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


@pytest.mark.parametrize(
    ("z", "error", "message"),
    [
        (np.full((2, 16), 1e300), ValueError, "finite, got 32 NaN or inf.*beyond float32"),
        (np.ma.masked_less(np.zeros((2, 16)), 1), ValueError, "masked array"),
        (np.zeros((2, 16), complex), TypeError, "floating point, got complex128"),
        ([["a"] * 16], TypeError, "floating point, got str"),
        (np.zeros((2, 16), "datetime64[s]"), TypeError, "floating point, got datetime64"),
        ([[0.0] * 16, [0.0]], ValueError, "lists of different lengths"),
        (None, TypeError, "floating point, got NoneType"),
        (np.zeros((), np.float32), ValueError, r"got \(\)"),
    ],
)
def test_latents_must_be_numbers(z, error, message, unchecked_types):
    config = RFSQConfig()
    for function in (
        lambda: rfsq.encode(config, rfsq.init(config), z),
        lambda: rfsq.quantize(config, rfsq.init(config), z),
        lambda: rfsq.calibrate(config, z),
    ):
        with pytest.raises(error, match=f"^z .*{message}"):
            function()


@pytest.mark.parametrize("shape", [(0, 16), (3, 0, 16)])
def test_none_become_none_and_measure_nothing(shape):
    config = RFSQConfig()
    state, z = rfsq.init(config), np.zeros(shape, np.float32)
    codes = rfsq.encode(config, state, z)
    assert (codes.shape, codes.dtype) == ((*shape, 8), np.int32)
    assert rfsq.decode(config, state, codes).shape == shape
    assert rfsq.quantize(config, state, z)[0].shape == shape
    for measure in (
        lambda: rfsq.calibrate(config, z),
        lambda: rfsq.quantize(config, state, z, train=True),
        lambda: rfsq.health(config, state, z),
    ):
        with pytest.raises(ValueError, match="z must hold at least one vector, got shape"):
            measure()


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


@pytest.mark.parametrize("num_layers", [True, 1.5, "2", [2]])
def test_a_number_of_layers_is_an_integer(num_layers, unchecked_types):
    config = RFSQConfig()
    with pytest.raises(TypeError, match="num_layers must be an integer, got"):
        rfsq.decode(config, rfsq.init(config), np.zeros((2, 16, 8), np.int32), num_layers)


@pytest.mark.parametrize(
    ("codes", "error", "message"),
    [
        (np.zeros((16, 8), bool), TypeError, "integers, got bool"),
        (np.full((16, 8), "a"), TypeError, "integers, got str"),
        (np.zeros((16, 8), "datetime64[s]"), TypeError, "integers, got datetime64"),
        (np.ma.masked_equal(np.zeros((16, 8), int), 0), ValueError, "masked array"),
        (np.full((16, 8), 2**64 - 1, np.uint64), ValueError, r"below 2\*\*63"),
        ([[2**70] * 8] * 16, ValueError, r"below 2\*\*63"),
        ([[0] * 8, [0]], ValueError, "lists of different lengths"),
        (None, TypeError, "integers, got NoneType"),
    ],
)
def test_codes_must_be_integers(codes, error, message, unchecked_types):
    config = RFSQConfig()
    with pytest.raises(error, match=f"^codes .*{message}"):
        rfsq.decode(config, rfsq.init(config), codes)


def test_lists_of_integers_are_codes(unchecked_types):
    config = RFSQConfig(dim=2, num_layers=1)
    codes: Any = [[3], [6]]
    decoded = rfsq.decode(config, rfsq.init(config), codes)
    np.testing.assert_allclose(decoded, [0.0, 1.0], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "dim must be at least 1, got 0"),
        ({"num_levels": 1}, "num_levels must be 2 to 128, got 1"),
        ({"conditioning": "batchnorm"}, "conditioning must be one of"),
        ({"statistics": "moving"}, "statistics must be one of"),
        ({"statistics": "per_token", "conditioning": "none"}, "conditioning must be"),
        ({"decay": 1.0}, "decay must be in"),
        ({"dim": 1.5}, "dim must be a valid integer, got 1.5"),
        ({"num_layers": True}, "num_layers must be a valid integer, got True"),
        ({"spread": np.inf}, "spread must be a finite number, got inf"),
    ],
)
def test_configs_validate_themselves(options, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        RFSQConfig(**options)
