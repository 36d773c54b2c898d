"""Motion of robots that do not exist: data sets of chunks whose statistics differ widely.

Each data set draws what its dims are like (how smooth, how active, how far apart its way points),
then chunks of it: smooth random signals, moves from point to point, their velocities, walks; mixed
over dims, idle at times, with noise, rounded to a lattice, or constant. Pure JAX: a function of the
key, to be called inside of a training step.

Axes: S data sets · N chunks of one · T steps · A dims.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rfsq_jax.runs.checks import require_positive
from rfsq_jax.runs.records import require_types

QUANTILE = 0.98
"""Of the distance from the middle, which normalisation maps to about one."""


@dataclasses.dataclass(frozen=True)
class MotionShape:
    """How much motion: sets of chunks of so many steps and dims."""

    sets: int = 8
    chunks: int = 64
    steps: int = 8
    dims: int = 12

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(self, "sets", "chunks", "steps", "dims")


def cosines(steps: int) -> Float[np.ndarray, "t t"]:
    """The orthonormal cosine transform over time: coefficients = cosines(T) @ signal."""
    frequency, time = np.arange(steps)[:, None], np.arange(steps)[None]
    basis = np.cos(math.pi * (2 * time + 1) * frequency / (2 * steps)) * math.sqrt(2 / steps)
    return np.where(frequency == 0, math.sqrt(1 / steps), basis).astype(np.float32)


def motion(shape: MotionShape, key: jax.Array) -> Float[Array, "s n t a"]:
    """Draws data sets of chunks, each dim of each set normalised to about [-1, 1]."""
    keys = iter(jax.random.split(key, 16))
    families = [_smooth, _walks, _moves, _velocities]
    drawn = jnp.stack([family(shape, next(keys)) for family in families])
    of_set = jax.random.randint(next(keys), (shape.sets, 1, 1, 1), 0, len(families))
    of_dim = jax.random.randint(next(keys), (shape.sets, 1, 1, shape.dims), 0, len(families))
    chosen = jnp.where(_chance(next(keys), 0.3, shape.sets, 1, 1, 1), of_dim, of_set)
    index = jnp.broadcast_to(chosen, drawn.shape[1:])[None]
    signal = _mixed(shape, next(keys), jnp.take_along_axis(drawn, index, axis=0)[0])
    return _blemished(shape, next(keys), normalized(signal))


def normalized(signal: Float[Array, "s n t a"]) -> Float[Array, "s n t a"]:
    """Each dim of each set, its middle at zero and its outer quantile at one."""
    middle = (jnp.max(signal, (1, 2), keepdims=True) + jnp.min(signal, (1, 2), keepdims=True)) / 2
    centred = signal - middle
    return centred / (jnp.quantile(jnp.abs(centred), QUANTILE, axis=(1, 2), keepdims=True) + 1e-6)


def _chance(key: jax.Array, share: float, *shape: int) -> Array:
    return jax.random.uniform(key, shape) < share


def _log_uniform(key: Array, low: float, high: float, *shape: int) -> Float[Array, "..."]:
    return jnp.exp(jax.random.uniform(key, shape, minval=math.log(low), maxval=math.log(high)))


def _activity(shape: MotionShape, key: jax.Array) -> Float[Array, "s n 1 a"]:
    """How much each dim of a chunk moves: spread over octaves, and not at all for a share."""
    spread, draw, share, idle = jax.random.split(key, 4)
    of_dim = (shape.sets, 1, 1, shape.dims)
    of_chunk = (shape.sets, shape.chunks, 1, shape.dims)
    octaves = jax.random.normal(draw, of_chunk) * jax.random.uniform(spread, of_dim, maxval=1.5)
    moves = jax.random.uniform(idle, of_chunk) > jax.random.uniform(share, of_dim, maxval=0.6)
    return jnp.exp(octaves) * moves


def _smooth(shape: MotionShape, key: jax.Array) -> Float[Array, "s n t a"]:
    """Random signals whose spectrum falls from a corner frequency on."""
    keys = jax.random.split(key, 4)
    of_dim = (shape.sets, 1, 1, shape.dims)
    corner = _log_uniform(keys[0], 0.1, 8.0, *of_dim)
    slope = jax.random.uniform(keys[1], of_dim, minval=0.5, maxval=3.0)
    frequency = jnp.arange(shape.steps, dtype=jnp.float32)[None, None, :, None]
    spectrum = (1.0 + jnp.square(frequency / corner)) ** -slope
    size = (shape.sets, shape.chunks, shape.steps, shape.dims)
    waves = jax.random.normal(keys[2], size) * spectrum * _activity(shape, keys[3])
    return jnp.einsum("kt,snka->snta", jnp.asarray(cosines(shape.steps)), waves)


def _walks(shape: MotionShape, key: jax.Array) -> Float[Array, "s n t a"]:
    """Positions, whose velocity is a smooth signal."""
    size, place, signal = jax.random.split(key, 3)
    reach = _log_uniform(size, 0.003, 0.3, shape.sets, 1, 1, shape.dims)
    velocity = _smooth(shape, signal) * reach
    start = jax.random.uniform(place, (shape.sets, shape.chunks, 1, shape.dims), minval=-1.0)
    return start + jnp.cumsum(velocity, axis=2)


def _moves(shape: MotionShape, key: jax.Array, extra: int = 0) -> Float[Array, "s n t a"]:
    """Windows of moves of least jerk from point to point; dims move together, or each by itself."""
    keys = iter(jax.random.split(key, 8))
    of_dim = (shape.sets, shape.chunks, 1, shape.dims)
    together = _chance(next(keys), 0.6, shape.sets, 1, 1, 1)

    def timed(key: jax.Array) -> Float[Array, "s n 1 a"]:
        drawn = jax.random.uniform(key, of_dim)
        return jnp.where(together, drawn[..., :1], drawn)

    usual = _log_uniform(next(keys), shape.steps * 0.5, shape.steps * 8.0, shape.sets, 1, 1, 1)
    length = usual * jnp.exp(timed(next(keys)) - 0.5)
    time = jnp.arange(shape.steps + extra, dtype=jnp.float32)[None, None, :, None]
    phase = (time - 1.0) / length + timed(next(keys))
    places = jax.random.uniform(next(keys), (3, *of_dim), minval=-1.0)
    share = jax.random.uniform(next(keys), (shape.sets, 1, 1, shape.dims))
    going = jax.random.uniform(next(keys), (2, *of_dim)) > 0.6 * share[None]
    first, second = jnp.diff(places, axis=0) * going
    return places[0] + first * _least_jerk(phase) + second * _least_jerk(phase - 1.0)


def _velocities(shape: MotionShape, key: jax.Array) -> Float[Array, "s n t a"]:
    return jnp.diff(_moves(shape, key, extra=1), axis=2)


def _least_jerk(phase: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Flash and Hogan 1985: from 0 to 1 with no velocity or acceleration at either end."""
    u = jnp.clip(phase, 0.0, 1.0)
    return u**3 * (10.0 - 15.0 * u + 6.0 * u**2)


def _mixed(
    shape: MotionShape, key: jax.Array, signal: Float[Array, "s n t a"]
) -> Float[Array, "s n t a"]:
    """Adds the other dims to each, in some sets."""
    draw, some = jax.random.split(key)
    others = 0.5 * jax.random.normal(draw, (shape.sets, shape.dims, shape.dims))
    matrix = jnp.eye(shape.dims)[None] + others * _chance(some, 0.4, shape.sets, 1, 1)
    return jnp.einsum("snta,sab->sntb", signal, matrix)


def _blemished(
    shape: MotionShape, key: jax.Array, signal: Float[Array, "s n t a"]
) -> Float[Array, "s n t a"]:
    """Adds noise to some dims, rounds some to a lattice, holds some still."""
    keys = jax.random.split(key, 7)
    of_dim = (shape.sets, 1, 1, shape.dims)
    loud = _chance(keys[0], 0.4, *of_dim) * _log_uniform(keys[1], 1e-3, 0.2, *of_dim)
    signal = signal + loud * jax.random.normal(keys[2], signal.shape)
    unit = _log_uniform(keys[3], 0.004, 0.1, *of_dim)
    coarse = _chance(keys[4], 0.2, *of_dim)
    signal = jnp.where(coarse, jnp.round(signal / unit) * unit, signal)
    held = 2.0 * jax.random.uniform(keys[6], of_dim) - 1.0
    return jnp.where(_chance(keys[5], 0.08, *of_dim), held, signal)
