"""OFT in bfloat16 against itself in float32, at a size between the tests' and the published one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch")

from rfsq_jax.backbones.openvla import model
from rfsq_jax.backbones.openvla.config import LlamaConfig, OFTConfig, OpenVLAConfig, VitConfig
from rfsq_jax.backbones.openvla.layers import layer_norm, rms_norm
from rfsq_jax.backbones.openvla.layout import parameter_table
from rfsq_jax.runs.weight_files import unflatten
from tests.support.openvla_checkpoints import draw

MIDDLE = OpenVLAConfig(
    dino=VitConfig(width=128, depth=8, heads=2, mlp_width=512, registers=4),
    siglip=VitConfig(width=144, depth=9, heads=2, mlp_width=538, registers=0),
    llama=LlamaConfig(vocabulary=512, width=256, depth=12, heads=4, mlp_width=688),
    oft=OFTConfig(),
    image_size=112,
)
LENGTHS = np.array([24, 17])


def weights() -> dict[str, Any]:
    """Every parameter drawn anew, as in the parity tests; float32."""
    rng = np.random.default_rng(0)
    drawn = {}
    for path, leaf in parameter_table(MIDDLE).items():
        layers = [leaf.convert(draw(rng, path, leaf)) for _ in leaf.keys]
        drawn[path] = jnp.asarray(np.stack(layers) if leaf.stacked else layers[0])
    return unflatten(drawn)


def inputs() -> list[jax.Array]:
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(2, 2, 112, 112, 6)).astype(np.float32)
    prompts = rng.integers(3, 500, size=(2, LENGTHS.max()))
    state = rng.uniform(-1, 1, (2, 8)).astype(np.float32)
    return [jnp.asarray(each) for each in (pixels, prompts, LENGTHS, state)]


def test_action_states_in_bfloat16() -> None:
    params = weights()
    pixels, prompts, lengths, state = inputs()
    run = jax.jit(model.oft_hidden, static_argnums=1)
    exact = np.asarray(run(params, MIDDLE, pixels, prompts, lengths, state))
    rounded = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    states = run(rounded, MIDDLE, pixels.astype(jnp.bfloat16), prompts, lengths, state)
    assert states.dtype == jnp.bfloat16
    got = np.asarray(states, np.float32)
    lengths_of = [np.linalg.norm(each, axis=-1) for each in (got, exact)]
    cosines = (got * exact).sum(axis=-1) / np.prod(lengths_of, axis=0)
    assert cosines.min() >= 0.999
    # Not merely because all states are alike: rounding is small beside what tells samples apart.
    apart = np.linalg.norm(exact[0] - exact[1], axis=-1)
    wrong = np.linalg.norm(got - exact, axis=-1)
    assert (wrong < 0.1 * apart).all()


def test_norms_are_exact_inside() -> None:
    """Their result is rounded, and no step before; RMS before its scale, as in the released model.

    In bfloat16, the mean and the differences to it would be a few per cent off.
    """
    rng = np.random.default_rng(1)
    x, scale, bias = (rng.normal(at, 1, size) for at, size in ((8, (16, 512)), (1, 512), (0, 512)))
    x, scale, bias = (jnp.asarray(each, jnp.bfloat16) for each in (x, scale, bias))
    wide, scales, biases = (np.asarray(each, np.float64) for each in (x, scale, bias))
    got = layer_norm({"scale": scale, "bias": bias}, x, 1e-6)
    centred = wide - wide.mean(axis=-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
    assert_rounded(got, expected * scales + biases)
    got = rms_norm({"scale": scale}, x, 1e-6)
    rounded = wide / np.sqrt((wide**2).mean(axis=-1, keepdims=True) + 1e-6)
    rounded = np.asarray(jnp.asarray(rounded, jnp.bfloat16), np.float64)
    assert_rounded(got, rounded * scales)


def assert_rounded(got: jax.Array, expected: np.ndarray) -> None:
    assert got.dtype == jnp.bfloat16
    wanted = jnp.asarray(expected, jnp.bfloat16)
    # Float32's own rounding may tip a number that lies between two.
    assert (np.asarray(got) == np.asarray(wanted)).mean() > 0.998
    np.testing.assert_allclose(np.asarray(got, np.float64), expected, rtol=2**-7, atol=1e-5)
