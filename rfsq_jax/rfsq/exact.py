"""Small networks and sums whose results do not depend on who computes them.

A decoder that computes its scales with a network must get the same bits in every program: eager,
jitted, in any batch, on any number and kind of devices. Rounding what a float network gives only
makes differences rare. Here every product and every partial sum is an integer that float32 holds
exactly, so the order of additions and fused multiply-adds cannot matter. Source: Balle, Johnston
and Minnen, "Integer networks for data compression with latent-variable models", ICLR 2019.

Training sees the very same numbers; gradients pass the rounding unchanged (straight through).

Activations and weights are integers here: 1.0 is 2**6 for the former, 2**8 for the latter. Values,
the numbers that are quantised, are multiples of 2**-16 up to 2**5.

Axes: ... any leading axes · I inputs · O outputs.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int8, Shaped

ACTIVATION_BITS = 6
WEIGHT_BITS = 8
VALUE_BITS = 16
SUM_BITS = ACTIVATION_BITS + WEIGHT_BITS
"""Binary places of activations, weights, values, and of products of the first two."""

LARGEST = 255
"""Of activations."""
LARGEST_WEIGHT = 127
"""What int8 holds."""
LARGEST_VALUE = 2.0**5
LARGEST_SUM = 2**24
"""Integers up to here are exact in float32."""

SCALE_STEPS = 8
"""Scales that a table has for each factor of two."""
SCALE_RANGE = (-16, 3)
"""Powers of two that the table spans."""


@jax.custom_jvp
def with_gradient(value: Float[Array, "*n"], source: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """`value`, with the gradient of `source`.

    value + (source - stop_gradient(source)) would be off where a compiler fuses the product that
    `source` is with the subtraction.
    """
    return value


@with_gradient.defjvp
def _with_gradient_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    return primals[0], tangents[1]


def rounded(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The nearest integer, with the gradient of x (straight through)."""
    return with_gradient(jnp.round(x), x)


def like(constant: Float[Array, "*c"], x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """A layer's constant, repeated along the leading axes of x."""
    return jnp.broadcast_to(constant, x.shape)


def limited(x: Float[Array, "*n"], largest: float | int) -> Float[Array, "*n"]:
    """Clipped to [-largest, largest]; the gradient is that of the clip."""
    return jnp.clip(x, -largest, largest)


def as_activations(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Numbers of the order of one -> activations."""
    return limited(rounded(x * 2.0**ACTIVATION_BITS), LARGEST)


def as_values(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The nearest values."""
    return limited(rounded(x * 2.0**VALUE_BITS) * 2.0**-VALUE_BITS, LARGEST_VALUE)


def power_of_two(exponent: Int[Array, "*n"]) -> Float[Array, "*n"]:
    """2.0 ** exponent, exactly, for exponents from -126 to 127; exp2 may round."""
    return jax.lax.bitcast_convert_type((exponent + 127) << 23, jnp.float32)


def weights(w: Shaped[Array, "i o"]) -> Float[Array, "i o"]:
    """Weights as integers: of float parameters in training, or of the int8 that files hold.

    So many inputs that their sum could leave float32's integers get smaller largest weights.
    """
    largest = min(LARGEST_WEIGHT, LARGEST_SUM // (2 * LARGEST * w.shape[0]))
    if jnp.issubdtype(w.dtype, jnp.integer):
        return limited(w.astype(jnp.float32), largest)
    return limited(rounded(w * 2.0**WEIGHT_BITS), largest)


def frozen(w: Shaped[Array | np.ndarray, "*j i o"]) -> Int8[Array, "*j i o"]:
    """`weights` of one map, or of a stack of them, as files hold them."""
    used = weights
    for _ in range(w.ndim - 2):
        used = jax.vmap(used)
    return used(jnp.asarray(w)).astype(jnp.int8)


def linear(
    x: Float[Array, "*n i"], w: Shaped[Array, "i o"], b: Float[Array, " o"]
) -> Float[Array, "*n o"]:
    """x @ w + b of activations, in units of 2**-SUM_BITS, exact.

    Args:
      x: activations.
      w: see `weights`.
      b: of the order of one.
    """
    bias = limited(rounded(b * 2.0**SUM_BITS), LARGEST_SUM // 2)
    sums = jnp.matmul(x, weights(w), precision=jax.lax.Precision.HIGHEST)
    return sums + like(bias, sums)


def to_activations(sums: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """What `linear` gives -> activations."""
    return limited(rounded(sums * 2.0**-WEIGHT_BITS), LARGEST)


def hard_gelu(activations: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """x * clip(x + 2, 0, 4) / 4: the shape of a GELU, in integers."""
    one = 2.0**ACTIVATION_BITS
    return rounded(activations * jnp.clip(activations + 2 * one, 0, 4 * one) * (0.25 / one))


def scale_table() -> Float[np.ndarray, " n"]:
    """2 ** (i / SCALE_STEPS) over SCALE_RANGE, of eight mantissa bits each."""
    low, high = SCALE_RANGE
    exact = 2.0 ** (np.arange(low * SCALE_STEPS, high * SCALE_STEPS + 1) / SCALE_STEPS)
    mantissa, exponent = np.frexp(exact)
    return np.ldexp(np.round(mantissa * 256) / 256, exponent).astype(np.float32)


def scales(steps: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Integers i -> 2 ** (i / SCALE_STEPS) from the table, with that function's gradient."""
    low, high = (bound * SCALE_STEPS for bound in SCALE_RANGE)
    inside = jnp.clip(steps, low, high)
    index = (inside - low).astype(jnp.int32)
    smooth = jnp.exp2(inside / SCALE_STEPS)
    return with_gradient(jnp.asarray(scale_table())[index], smooth)
