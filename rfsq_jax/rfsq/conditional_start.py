"""Where conditional layers start: constants measured layer by layer, networks that add nothing.

Axes: N vectors · D dims · G directions · L layers · C context · H hidden · I inputs.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from rfsq_jax.rfsq import exact
from rfsq_jax.rfsq.conditional import ConditionalState, Networks
from rfsq_jax.rfsq.config import RFSQConfig

SMALLEST_DEVIATION = 2.0**-12
"""Of a direction or a dim, so that a constant one gets a finite unit."""
MEMORY_GAIN, ADDED_GAIN = 0.7, 0.3
"""Of fresh maps from the memory and to it, with which it neither dies nor saturates."""
WEIGHT_NAMES = ("w_in", "w_memory", "w_out")
"""Of `Networks`: what is frozen to integers."""
FARTHEST = 32
"""Powers of two that a unit may be away from 1."""
MEASURED = 20_000
"""Vectors that the constants are measured on; more change them by less than training does."""

Constants = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def plain(config: RFSQConfig) -> ConditionalState:
    """Layers that refine the dims in turn, for vectors within [-1, 1], without networks' help."""
    dims = np.arange((config.num_layers + 1) * config.num_directions)
    rows = dims.reshape(-1, config.num_directions)
    directions = np.moveaxis(np.eye(config.dim)[rows % config.dim], -1, 1)
    step = 2.0 / (config.num_levels - 1) * float(config.num_levels) ** -(rows // config.dim)
    mean = np.zeros((len(rows), config.dim))
    units = np.log2(step).mean(axis=1)
    return _assemble(config, (mean, directions, np.log2(step), units), np.zeros(config.dim), 0)


def measured(config: RFSQConfig, z: Float[np.ndarray, "n d"], seed: int = 0) -> ConditionalState:
    """Each layer gets mean, principal directions and deviations of what the ones before left.

    Args:
      config: the quantiser.
      z: what is to be quantised.
      seed: of the choice of at most `MEASURED` vectors, and of the networks' hidden weights.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(z))[:MEASURED]
    sample = np.asarray(z)[np.sort(rows)].astype(np.float64)
    layers = zip(*_principal_layers(config, sample), strict=True)
    mean, directions, log_step, units = (np.stack(each) for each in layers)
    magnitude = np.sqrt(np.mean(sample**2, axis=0))
    floor = np.maximum(magnitude.max() / 16, SMALLEST_DEVIATION)
    inputs = np.log2(np.maximum(magnitude, floor))
    return _assemble(config, (mean, directions, log_step, units), inputs, seed)


def _principal_layers(
    config: RFSQConfig, residual: Float[np.ndarray, "n d"]
) -> Iterator[Constants]:
    half = (config.num_levels - 1) / 2
    # Close to the best half width for Gaussian residuals, in deviations: 1.95 for 7 levels.
    width = 1.1 * np.log(config.num_levels) ** 0.86
    for _ in range(config.num_layers + 1):
        mean = residual.mean(axis=0)
        variance, directions = np.linalg.eigh(
            np.cov((residual - mean).T, ddof=0).reshape(config.dim, -1)
        )
        order = np.argsort(variance)[::-1][: config.num_directions]
        directions, variance = directions[:, order], variance[order]
        step = width * np.sqrt(np.maximum(variance, SMALLEST_DEVIATION**2)) / half
        position = (residual - mean) @ directions / step
        nearest = np.round(position) if config.num_levels % 2 else np.floor(position) + 0.5
        residual = residual - mean - (np.clip(nearest, -half, half) * step) @ directions.T
        unit = np.log2(max(np.sqrt(np.mean(residual**2)), SMALLEST_DEVIATION))
        yield mean, directions, np.log2(step), unit


def _principal(
    centred: Float[np.ndarray, "n d"], count: int
) -> tuple[Float[np.ndarray, "d g"], Float[np.ndarray, " g"]]:
    """The directions of most variance, and that variance."""
    variance, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    return directions[:, ::-1][:, :count], np.maximum(variance[::-1][:count], 0.0)


def _assemble(
    config: RFSQConfig, constants: Constants, inputs: Float[np.ndarray, " d"], seed: int
) -> ConditionalState:
    mean, directions, log_step, units = constants
    count, hidden = len(mean), config.hidden_dim
    outputs = config.dim + config.num_directions + config.dim * config.num_directions
    keys = jax.random.split(jax.random.key(seed), (count, 4))
    known, codes = config.dim + config.context_dim, config.num_directions

    def fresh(index: int, rows: int, gain: float) -> jax.Array:
        draw = jax.vmap(lambda key: jax.random.normal(key, (rows, hidden)))(keys[:, index])
        return draw * (gain / np.sqrt(rows))

    parts = [fresh(0, known, 1.0), fresh(1, hidden, MEMORY_GAIN), fresh(2, codes, 1.0)]
    networks = Networks(
        mean=jnp.asarray(mean, jnp.float32),
        directions=jnp.asarray(directions, jnp.float32),
        log_step=jnp.asarray(log_step, jnp.float32),
        w_in=jnp.concatenate(parts, axis=1),
        b_in=jnp.zeros((count, hidden)),
        w_memory=fresh(3, hidden, ADDED_GAIN),
        b_memory=jnp.zeros((count, hidden)),
        w_out=jnp.zeros((count, hidden, outputs)),
        b_out=jnp.zeros((count, outputs)),
    )
    input_unit = np.broadcast_to(np.round(inputs).astype(np.int32), (count, config.dim))
    return ConditionalState(
        networks, jnp.asarray(np.round(units), jnp.int32), jnp.asarray(input_unit)
    )


def frozen(state: ConditionalState) -> ConditionalState:
    """The same functions with their weights as the integers that they are used as, int8."""
    changed = {name: exact.frozen(getattr(state.networks, name)) for name in WEIGHT_NAMES}
    return state._replace(networks=state.networks._replace(**changed))
