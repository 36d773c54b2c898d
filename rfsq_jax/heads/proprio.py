"""The robot's state as heads see it.

Axes: ... any leading axes.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rfsq_jax.data.episodes import STATE_DIM
from rfsq_jax.rfsq.layers import AnyArray
from rfsq_jax.runs.array_checks import as_floats
from rfsq_jax.runs.checks import require

SMALLEST_STD = 1e-6
"""A dim that moves less is constant, and keeps its units."""


class ProprioStatistics(NamedTuple):
    """Mean and standard deviation of `relative_state` over the training frames.

    Attributes:
      mean: float32 [8].
      std: float32 [8].
    """

    mean: Float[AnyArray, " 8"]
    std: Float[AnyArray, " 8"]


def fit(state: Float[np.ndarray, "n 8"]) -> ProprioStatistics:
    """Measures the statistics of raw states; a constant dim keeps its units."""
    values = np.asarray(relative_state(state))
    mean, std = values.mean(axis=0), values.std(axis=0)
    std = np.where(std < SMALLEST_STD, 1.0, std)
    return ProprioStatistics(mean.astype(np.float32), std.astype(np.float32))


def check(statistics: ProprioStatistics) -> None:
    """Raises a ValueError unless mean and std are float [8], finite, and std above 0."""
    for name, values in statistics._asdict().items():
        found = as_floats(values, f"state.{name}")
        require(found.shape == (STATE_DIM,), f"state.{name}", f"of {STATE_DIM} values", found.shape)
    least = np.min(statistics.std)
    fits = bool(least >= np.float32(SMALLEST_STD))
    require(fits, "state.std", f"at least {SMALLEST_STD:g}", float(least))


def normalize(
    statistics: ProprioStatistics, state: Float[AnyArray, "*b 8"]
) -> Float[Array, "*b 8"]:
    """Raw states -> zero mean and unit spread over the training frames."""
    values = relative_state(state)
    mean, std = (jnp.broadcast_to(each, values.shape) for each in statistics)
    return (values - mean) / std


def relative_state(state: Float[AnyArray, "*b 8"]) -> Float[Array, "*b 8"]:
    """Replaces the axis-angle by the rotation relative to a gripper that points straight down.

    LIBERO's axis-angle lies near pi, where its sign flips from one frame to the next; relative to
    diag(1, -1, -1), which is half a turn about x, it is small and smooth.
    """
    state = jnp.asarray(state)
    relative = _relative_to_down(state[..., 3:6])
    return jnp.concatenate([state[..., :3], relative, state[..., 6:]], axis=-1)


def _relative_to_down(vector: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    x, y, z, w = jnp.moveaxis(_quaternion(vector), -1, 0)
    # The conjugate of the quaternion (1, 0, 0, 0) of half a turn about x, times (x, y, z, w).
    return _rotation_vector(jnp.stack([-w, z, -y], axis=-1), x)


def _quaternion(vector: Float[Array, "*b 3"]) -> Float[Array, "*b 4"]:
    angle = jnp.linalg.norm(vector, axis=-1, keepdims=True)
    # sin(a / 2) / a, which is 1 / 2 at 0.
    ratio = 0.5 * jnp.sinc(angle / (2 * jnp.pi))
    return jnp.concatenate([vector * ratio, jnp.cos(angle / 2)], axis=-1)


def _rotation_vector(imaginary: Float[Array, "*b 3"], real: Float[Array, "*b"]) -> Array:
    sign = jnp.where(real < 0, -1.0, 1.0)
    length = jnp.linalg.norm(imaginary, axis=-1)
    small = length < 1e-6
    ratio = jnp.where(
        small, 2.0, 2 * jnp.arctan2(length, jnp.abs(real)) / jnp.where(small, 1.0, length)
    )
    return imaginary * (sign * ratio)[..., None]
