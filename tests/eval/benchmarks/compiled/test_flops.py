"""Operations counted on what was traced, against hand counts and the written costs of OpenVLA."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from eval.benchmarks.compiled.flops import matmul_flops
from eval.benchmarks.openvla.cost import cost_parts
from eval.benchmarks.openvla.programs import abstract_inputs, chunk
from rfsq_jax.backbones.openvla.config import TINY_OFT
from rfsq_jax.backbones.openvla.layout import abstract_params

A = jnp.zeros((2, 3))
B = jnp.zeros((3, 5))


def flops(function, *arguments) -> int:
    return matmul_flops(jax.make_jaxpr(function)(*arguments))


def test_a_product_and_its_gradients():
    assert flops(jnp.matmul, A, B) == 2 * 2 * 3 * 5
    both = jax.grad(lambda a, b: jnp.sum(jnp.square(a @ b)), argnums=(0, 1))
    assert flops(both, A, B) == 3 * 2 * 2 * 3 * 5


def test_batched_products():
    assert flops(jax.vmap(jnp.matmul), jnp.zeros((7, 2, 3)), jnp.zeros((7, 3, 5))) == 7 * 60


def test_loops_and_what_is_called_inside():
    def looped(x):
        return jax.lax.scan(lambda x, _: (jax.jit(jnp.matmul)(x, x), None), x, None, length=4)

    square = jnp.zeros((3, 3))
    assert flops(looped, square) == 4 * 2 * 27
    assert flops(jax.checkpoint(lambda x: x @ x), square) == 2 * 27


def test_of_branches_the_longer_one_counts():
    def chosen(x):
        return jax.lax.cond(x[0, 0] > 0, lambda x: x @ x, lambda x: x, x)

    assert flops(chosen, jnp.zeros((3, 3))) == 2 * 27


def test_what_cannot_be_counted_is_refused():
    def endless(x):
        return jax.lax.while_loop(lambda x: x[0, 0] > 0, lambda x: x @ x, x)

    with pytest.raises(ValueError, match="while loop"):
        flops(endless, jnp.zeros((3, 3)))
    with pytest.raises(ValueError, match="convolution"):
        flops(lambda x: jnp.convolve(x, x), jnp.zeros(3))


def test_openvla_costs_what_was_written_down():
    images, prompt, batch = 2, 9, 3
    params = abstract_params(TINY_OFT, jnp.float32)
    inputs = abstract_inputs(TINY_OFT, images, prompt, batch, jnp.float32)
    traced = jax.jit(lambda p, i: chunk(p, TINY_OFT, *i)).trace(params, inputs)
    written = sum(part.flops for part in cost_parts(TINY_OFT, images, prompt, batch).values())
    assert matmul_flops(traced.jaxpr) == written
