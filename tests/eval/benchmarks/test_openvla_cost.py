"""The accounting against figures worked out by hand for the published sizes."""

import dataclasses

import jax
import pytest

from eval.benchmarks.device_peaks import PEAKS, Cost, limit_seconds
from eval.benchmarks.openvla.cost import (
    attention_flops,
    cost_parts,
    head_flops,
    matmul_flops,
    passes,
    projector_flops,
    sequence_length,
    vit_flops,
)
from rfsq_jax.backbones.openvla import model
from rfsq_jax.backbones.openvla.config import (
    OPENVLA_7B,
    OPENVLA_OFT_7B,
    TINY,
    TINY_OFT,
    OFTConfig,
)
from rfsq_jax.backbones.openvla.layout import abstract_params

NO_PROPRIO = dataclasses.replace(OPENVLA_OFT_7B, oft=OFTConfig(proprio=False))
H100, V5E, V6E = (PEAKS[kind] for kind in ("NVIDIA H100 80GB HBM3", "TPU v5 lite", "TPU v6 lite"))
PROMPT = 35


def close(value: float, digits: float = 0.5e-2) -> object:
    return pytest.approx(value, rel=digits)


def test_parts_of_the_7b_model():
    llama = OPENVLA_7B.llama
    assert vit_flops(OPENVLA_7B.dino, OPENVLA_7B) == close(157.8e9, 5e-4)
    assert vit_flops(OPENVLA_7B.siglip, OPENVLA_7B) == close(210.9e9, 5e-4)
    assert projector_flops(OPENVLA_7B) == close(36.5e9, 2e-3)
    assert matmul_flops(llama) == close(12.952e9, 1e-4)
    assert attention_flops(llama, 605**2) == close(0.192e12)
    assert head_flops(OPENVLA_OFT_7B) == close(0.0024e12, 2e-2)


@pytest.mark.parametrize(
    ("config", "images", "length", "tera", "giga"),
    [
        (NO_PROPRIO, 1, 348, 4.98, 14.78),
        (OPENVLA_OFT_7B, 1, 349, 4.99, 14.81),
        (OPENVLA_OFT_7B, 2, 605, 8.84, 14.81),
        (OPENVLA_7B, 1, 291, 4.20, 14.74),
    ],
)
def test_totals_of_a_forward_pass(config, images, length, tera, giga):
    assert sequence_length(config, images, PROMPT) == length
    total = passes(cost_parts(config, images, PROMPT))[0]
    assert total.flops == close(tera * 1e12, 2e-3)
    assert total.bytes == close(giga * 1e9, 1e-3)


def test_a_decode_step():
    six = cost_parts(OPENVLA_7B, 1, PROMPT)["decode"]
    assert six.flops / 6 == close(0.0134e12, 1e-2)
    assert six.bytes / 6 == close(13.37e9, 1e-3)


@pytest.mark.parametrize(
    ("kind", "base", "action", "one", "two"),
    [
        ("NVIDIA H100 80GB HBM3", 4.40, 28.3, 5.05, 8.94),
        ("NVIDIA H200", 4.24, 21.0, 5.05, 8.94),
        ("TPU v4", 15.3, 80.6, 18.2, 32.1),
        ("TPU v5 lite", 21.3, 119, 25.3, 44.9),
        ("TPU v5", 9.1, 38.2, 10.9, 19.3),
        ("TPU v6 lite", 9.0, 57.9, 9.0, 9.6),
    ],
)
def test_limits_in_milliseconds(kind, base, action, one, two):
    base_passes = passes(cost_parts(OPENVLA_7B, 1, PROMPT))
    several = [base_passes[:1], base_passes] + [
        passes(cost_parts(OPENVLA_OFT_7B, images, PROMPT)) for images in (1, 2)
    ]
    got = [1e3 * limit_seconds(each, PEAKS[kind]) for each in several]
    assert got == [close(each, 1e-2) for each in (base, action, one, two)]


def test_chips_share_the_limit_and_passes_add_up():
    cost = Cost(flops=V5E.flops, bytes=0)
    assert limit_seconds([cost], V5E) == 1.0
    assert limit_seconds([cost, Cost(0, 2 * V5E.bandwidth)], V5E, chips=4) == 0.75


def test_cycles_of_a_full_matrix_unit_take_as_long_as_its_operations():
    assert V5E.seconds(V5E.flops / (4 * 2 * 128**2)) == pytest.approx(1)
    with pytest.raises(ValueError, match="flops_per_cycle"):
        H100.seconds(1)


def test_batches_add_operations_but_no_weights():
    one, four = (passes(cost_parts(OPENVLA_OFT_7B, 2, PROMPT, batch))[0] for batch in (1, 4))
    assert four.flops == 4 * one.flops
    assert four.bytes == one.bytes


def test_a_sequence_is_as_long_as_the_model_makes_it():
    pixels, prompt = jax.numpy.zeros((1, 1, 56, 56, 6)), jax.numpy.zeros((1, 9), int)
    params = abstract_params(TINY, jax.numpy.float32)
    hidden, _ = jax.eval_shape(lambda p: model.base_hidden(p, TINY, pixels, prompt), params)
    assert hidden.shape[1] == sequence_length(TINY, 1, 9)
    assert sequence_length(TINY_OFT, 2, 9) == 99
