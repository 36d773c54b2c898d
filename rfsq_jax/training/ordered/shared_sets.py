"""What the shared path learns from: data sets of bundled and of synthetic motion, and priors.

Axes: M bundled chunks of D dims · S data sets · N chunks of one · B chunks trained on ·
T frequencies · A dims.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.data.episodes import Episode, chunk_episodes
from rfsq_jax.data.synthetic_motion import MotionShape, cosines, motion
from rfsq_jax.libero.demonstrations.bundled import load_bundled
from rfsq_jax.rfsq.layers import AnyArray
from rfsq_jax.tokenizers.ordered.coefficients import Coefficients
from rfsq_jax.tokenizers.ordered.shared import SMALLEST_DEVIATION

SHORTEST = 4
"""Steps of the shortest chunks that a network meets."""
SHORTER = 0.15
"""Of the data sets: so many have chunks shorter than the network's horizon."""
BUNDLED = 0.5
"""Of the data sets: so many are of bundled motion, half as many of both."""


class Batch(NamedTuple):
    """Coefficients, dims first, the prior of their data set, and which coefficients there are."""

    z: Float[Array, "b a t"]
    mean: Float[Array, "b a t"]
    deviation: Float[Array, "b a t"]
    present: Bool[Array, "b a t"]


def load_robots(suites: tuple[str, ...]) -> list[list[Episode]]:
    """The bundled demonstrations of each suite, which is one robot's data set.

    Raises:
      ValueError: if a suite has no bundled demonstrations.
    """
    return [load_bundled(suite) for suite in suites]


def coefficients(
    episodes: list[Episode], horizon: int, stride: int = 1
) -> Float[np.ndarray, "m t a"]:
    """Cosine coefficients float32 of the continuous dims of episodes' chunks, normalised.

    Raises:
      ValueError: if no episode has `horizon` steps.
    """
    chunks = chunk_episodes(episodes, horizon, stride)
    return Coefficients(ActionSpace.fit(chunks)).split(chunks).coefficients


def synthetic(shape: MotionShape, key: jax.Array) -> Float[Array, "s n t a"]:
    """Cosine coefficients of data sets of synthetic motion."""
    return jnp.einsum("kt,snta->snka", jnp.asarray(cosines(shape.steps)), motion(shape, key))


def batch(
    shape: MotionShape, trained: int, bundled: Float[AnyArray, "m t d"], key: jax.Array
) -> Batch:
    """Draws data sets, and the first `trained` chunks of each with the prior of all."""
    keys = iter(jax.random.split(key, 10))
    made = synthetic(shape, next(keys))
    kind = jax.random.uniform(next(keys), (shape.sets, 1, 1, shape.dims))
    of_set = jax.random.uniform(next(keys), (shape.sets, 1, 1, 1))
    is_bundled = (of_set < BUNDLED) & ((kind < 0.5) | (of_set < BUNDLED / 2))
    z = jnp.where(is_bundled, _bundled(shape, bundled, next(keys)), made)
    order = jnp.argsort(jax.random.uniform(next(keys), (shape.sets, shape.dims)), axis=-1)
    z = jnp.take_along_axis(z, order[:, None, None], axis=-1)
    z, frequencies = _shortened(shape, z, next(keys))
    count = jax.random.randint(next(keys), (shape.sets, 1, 1, 1), 1, shape.dims + 1)
    present = frequencies & (jnp.arange(shape.dims)[None, None, None] < count)
    z = jnp.where(present, z, 0.0)
    mean = jnp.mean(z, axis=1, keepdims=True)
    deviation = jnp.sqrt(jnp.var(z, axis=1, keepdims=True) + SMALLEST_DEVIATION**2)
    parts = (z, mean, deviation, jnp.broadcast_to(present, z.shape))

    def flat(part: Array) -> Array:
        whole = jnp.broadcast_to(part, z.shape)[:, :trained]
        return jnp.swapaxes(whole.reshape(-1, *z.shape[2:]), -1, -2)

    return Batch(*map(flat, parts))


def _bundled(
    shape: MotionShape, bundled: Float[AnyArray, "m t d"], key: jax.Array
) -> Float[Array, "s n t a"]:
    """Chunks of parts of the bundled motion, as many robots side by side as there are dims for."""
    keys = jax.random.split(key, 5)
    robots = -(-shape.dims // bundled.shape[-1])
    total = len(bundled)
    width = total * jnp.exp(-4.0 * jax.random.uniform(keys[0], (shape.sets, 1, 1)))
    first = jax.random.uniform(keys[1], (shape.sets, 1, robots)) * (total - width)
    place = first + width * jax.random.uniform(keys[2], (shape.sets, shape.chunks, robots))
    z = jnp.asarray(bundled)[jnp.clip(place.astype(jnp.int32), 0, total - 1)]
    z = jnp.moveaxis(z, 2, 3).reshape(shape.sets, shape.chunks, shape.steps, -1)[..., : shape.dims]
    of_dim = (shape.sets, 1, 1, shape.dims)
    gain = jnp.exp(0.4 * jax.random.normal(keys[3], of_dim))
    return z * gain * jax.random.rademacher(keys[4], of_dim, jnp.float32)


def _shortened(
    shape: MotionShape, z: Float[Array, "s n t a"], key: jax.Array
) -> tuple[Float[Array, "s n t a"], Bool[Array, "s 1 t 1"]]:
    """Some sets' chunks cut to fewer steps, and which frequencies that leaves."""
    whole = cosines(shape.steps)
    lengths = np.arange(min(SHORTEST, shape.steps), shape.steps + 1)
    maps = np.zeros((len(lengths), shape.steps, shape.steps), np.float32)
    for each, length in zip(maps, lengths, strict=True):
        each[:length] = cosines(int(length)) @ whole.T[:length]
    some, which = jax.random.split(key)
    drawn = jax.random.randint(which, (shape.sets,), 0, len(lengths))
    is_shorter = jax.random.uniform(some, (shape.sets,)) < SHORTER
    index = jnp.where(is_shorter, drawn, len(lengths) - 1)
    z = jnp.einsum("skt,snta->snka", jnp.asarray(maps)[index], z)
    present = jnp.arange(shape.steps)[None] < jnp.asarray(lengths)[index][:, None]
    return z, present[:, None, :, None]
