"""Conditional layers for tests: networks that matter, and the decoder once more in int64."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rfsq_jax import rfsq
from rfsq_jax.rfsq import ConditionalState, RFSQConfig, exact
from rfsq_jax.rfsq.conditional import DIRECTION_BITS, MOST_STEP_CHANGE


def config(**options: Any) -> RFSQConfig:
    sizes: dict[str, Any] = {
        "dim": 6,
        "num_layers": 4,
        "num_levels": 7,
        "num_directions": 3,
        "hidden_dim": 16,
    }
    return RFSQConfig(conditioning="conditional", **(sizes | options))


def sample(config: RFSQConfig, count: int, seed: int) -> tuple[Any, Any]:
    """Vectors of uneven dims, and a context of signs."""
    rng = np.random.default_rng(seed)
    widths = np.exp(rng.normal(size=config.dim))
    z = (rng.normal(size=(count, config.dim)) * widths).astype(np.float32)
    if not config.context_dim:
        return jnp.asarray(z), None
    signs = rng.choice([-1.0, 1.0], (count, config.context_dim)).astype(np.float32)
    return jnp.asarray(z), jnp.asarray(signs)


def trained_like(config: RFSQConfig, seed: int = 0) -> ConditionalState:
    """Calibrated, with networks that change means, steps and directions by a lot."""
    state = rfsq.calibrate(config, sample(config, 512, seed)[0], seed)
    networks = state.networks
    keys = jax.random.split(jax.random.key(seed), 3)
    return state._replace(
        networks=networks._replace(
            w_out=0.1 * jax.random.normal(keys[0], networks.w_out.shape),
            b_in=0.5 * jax.random.normal(keys[1], networks.b_in.shape),
            b_out=0.2 * jax.random.normal(keys[2], networks.b_out.shape),
        )
    )


def decode_in_integers(
    config: RFSQConfig, state: ConditionalState, codes: np.ndarray, context: np.ndarray | None
) -> np.ndarray:
    """Every prefix [L + 1, N, D] of codes [N, G, L], by integers alone (values times 2**16)."""
    count = len(codes)
    total = np.zeros((count, config.dim), np.int64)
    memory = np.zeros((count, config.hidden_dim), np.int64)
    doubled = np.zeros((count, config.num_directions), np.int64)
    told = np.zeros((count, 0)) if context is None else context
    told = _clip(_round(np.float64(told) * 2**exact.ACTIVATION_BITS), exact.LARGEST)
    found = []
    for index in range(config.num_layers + 1):
        layer = jax.tree.map(lambda leaf, at=index: np.asarray(leaf)[at], state)
        net = layer.networks
        seen = total * 2.0 ** (
            exact.ACTIVATION_BITS - exact.VALUE_BITS - layer.input_unit.astype(np.float64)
        )
        old = _clip(doubled * 2 ** (exact.ACTIVATION_BITS - 3), exact.LARGEST)
        inputs = np.concatenate([_clip(_round(seen), exact.LARGEST), told, memory, old], axis=1)
        hidden = _gelu(_down(_linear(inputs, net.w_in, net.b_in)))
        memory = _clip(memory + _down(_linear(hidden, net.w_memory, net.b_memory)), exact.LARGEST)
        sums = _linear(_gelu(memory), net.w_out, net.b_out)
        mean, step, directions = _statistics(config, layer, sums)
        found.append(total + mean)
        if index < config.num_layers:
            doubled = 2 * codes[..., index].astype(np.int64) - (config.num_levels - 1)
            moved = directions * (doubled / 2 * step)[:, None] * 2.0**-DIRECTION_BITS
            total = _clip(total + mean + _values(moved).sum(axis=-1), _LARGEST_VALUE)
    return np.stack(found) / 2.0**exact.VALUE_BITS


_LARGEST_VALUE = int(exact.LARGEST_VALUE * 2**exact.VALUE_BITS)


def _statistics(config, layer, sums):
    dim, count = config.dim, config.num_directions
    mean, change, turn = np.split(sums, [dim, dim + count], axis=-1)
    mean = _values(layer.networks.mean) + _values(
        mean * 2.0 ** (int(layer.residual_unit) - exact.SUM_BITS)
    )
    turn = _round(turn.reshape(-1, dim, count) * 2.0 ** (DIRECTION_BITS - exact.SUM_BITS))
    own = _round(layer.networks.directions.astype(np.float64) * 2**DIRECTION_BITS)
    directions = _clip(own + turn, exact.LARGEST_WEIGHT)
    change = _clip(_round(change * exact.SCALE_STEPS * 2.0**-exact.SUM_BITS), MOST_STEP_CHANGE)
    squared = np.maximum((directions**2).sum(axis=1), 1)
    # Four times log2 with a mantissa of two bits.
    exponent = np.floor(np.log2(squared)).astype(np.int64)
    length = 4 * exponent + ((squared - 2**exponent) * 4) // 2**exponent
    steps = _round(layer.networks.log_step.astype(np.float64) * exact.SCALE_STEPS) + change
    steps = steps - (length - exact.SCALE_STEPS * DIRECTION_BITS)
    low, high = (bound * exact.SCALE_STEPS for bound in exact.SCALE_RANGE)
    table = exact.scale_table().astype(np.float64)
    return _clip(mean, _LARGEST_VALUE), table[np.clip(steps, low, high) - low], directions


def _linear(x, w, b):
    if w.dtype != np.int8:
        w = np.asarray(exact.weights(jnp.asarray(w)))
    bias = _round(b.astype(np.float64) * 2**exact.SUM_BITS)
    return x @ w.astype(np.int64) + _clip(bias, exact.LARGEST_SUM // 2)


def _down(sums):
    return _clip(_round(sums / 2.0**exact.WEIGHT_BITS), exact.LARGEST)


def _gelu(x):
    one = 2**exact.ACTIVATION_BITS
    return _round(x * np.clip(x + 2 * one, 0, 4 * one) / (4.0 * one))


def _values(x):
    return _clip(_round(np.float64(x) * 2**exact.VALUE_BITS), _LARGEST_VALUE)


def _round(x):
    return np.rint(x).astype(np.int64)


def _clip(x, largest):
    return np.clip(x, -largest, largest)
