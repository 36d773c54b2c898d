"""One sample over eight devices: the same numbers, and less that is sent."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from eval.benchmarks.compiled.hlo import read_program
from eval.benchmarks.openvla.programs import abstract_inputs, chunk, first_token
from eval.benchmarks.scaling.step import on_mesh
from rfsq_jax.backbones.openvla import spreading
from rfsq_jax.backbones.openvla.config import TINY, TINY_OFT, OpenVLAConfig
from rfsq_jax.backbones.openvla.layout import RULES, random_params, unstacked
from rfsq_jax.backbones.openvla.spreading import make_spread_mesh
from rfsq_jax.parallel.sharding import place

PROMPT = 9


def inputs_of(config: OpenVLAConfig, images: int) -> tuple[Any, ...]:
    pixels, prompt, lengths, *state = abstract_inputs(config, images, PROMPT, 1, jnp.float32)
    random = np.random.default_rng(0)
    return (
        random.normal(size=pixels.shape).astype(np.float32),
        random.integers(3, config.llama.vocabulary, prompt.shape).astype(np.int32),
        np.full(lengths.shape, PROMPT - 2, np.int32),
        *(random.normal(size=each.shape).astype(np.float32) for each in state),
    )


def spread_mesh(sequence: int) -> Mesh:
    """Of as many groups, each of two devices: the tiny sizes split no further."""
    return make_spread_mesh(sequence, jax.devices()[: 2 * sequence])


def run(config: OpenVLAConfig, images: int, sequence: int | None, listed: bool = False) -> Any:
    params = random_params(config, jax.random.key(0), jnp.float32)
    params = unstacked(params, config) if listed else params
    function = chunk if config.oft else first_token
    jitted = jax.jit(lambda params, inputs: function(params, config, *inputs))
    if sequence is None:
        return jitted(params, inputs_of(config, images))
    mesh = spread_mesh(sequence)
    params = place(params, mesh, RULES)
    with jax.set_mesh(mesh):
        return jitted(params, inputs_of(config, images))


@pytest.mark.parametrize(("sequence", "listed"), [(2, True), (4, False)])
def test_a_chunk_is_the_same_on_eight_devices(sequence, listed):
    expected, got = run(TINY_OFT, 2, None), run(TINY_OFT, 2, sequence, listed)
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), atol=2e-5)


def test_the_base_model_and_its_cache_are_the_same():
    expected, got = run(TINY, 1, None), run(TINY, 1, 2)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=2e-5),
        got,
        expected,
    )


def test_tokens_that_are_split_are_not_sent_whole():
    mesh = spread_mesh(4)
    struct = jax.ShapeDtypeStruct((1, 128, 32), jnp.float32)
    x = on_mesh(struct, mesh, None, (spreading.SEQUENCE, "tensor"))
    with jax.set_mesh(mesh):
        text = jax.jit(spreading.gathered).lower(x).compile().as_text() or ""
    program = read_program(text, 8)
    assert program.collectives == {"all-gather": 1}
    # Half of a quarter of the tokens comes from the other device of the group.
    assert program.sent == 128 / 4 * 32 * 4 / 2


def test_what_is_not_even_stays_as_it_is():
    with jax.set_mesh(spread_mesh(2)):
        text = jax.jit(spreading.between).lower(jnp.zeros((1, 3, 4))).as_text()
        split = jax.jit(spreading.between).lower(jnp.zeros((1, 8, 4))).as_text()
        assert spreading.padded(jnp.ones((1, 5, 4))).shape == (1, 128, 4)
    assert "sharding_constraint" not in text
    assert "sharding_constraint" in split


def test_without_a_mesh_nothing_is_split_or_padded():
    x = jnp.ones((1, 5, 4))
    assert spreading.padded(x) is x
    assert spreading.between(x) is x


def test_groups_must_divide_the_devices():
    for wrong in (0, -2, 3):
        with pytest.raises(ValueError, match="sequence must be a divisor of the 8 devices"):
            make_spread_mesh(wrong, jax.devices())
