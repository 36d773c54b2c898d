"""Ordered tokenizers of both paths for tests: few tokens, small networks, little training."""

from __future__ import annotations

import functools

import numpy as np

from rfsq_jax import rfsq
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.data.action_spec import LIBERO, ActionGroup, ActionSpec
from rfsq_jax.rfsq import conditional_start
from rfsq_jax.tokenizers.ordered.coefficients import Coefficients
from rfsq_jax.tokenizers.ordered.paths import DensePath
from rfsq_jax.tokenizers.ordered.tokenizer import OrderedTokenizer
from rfsq_jax.training.loop import LoopConfig
from rfsq_jax.training.ordered import fitting
from rfsq_jax.training.ordered.training import OrderedTrainingConfig

LOOP = LoopConfig(steps=20, steps_per_call=10, evaluate_every=10)
TRAINING = OrderedTrainingConfig(hidden_dim=16, loop=LOOP, batch_size=64)


def spec_of(joints: int, grippers: int) -> ActionSpec:
    """Joints, and grippers between them and at the end."""
    halves = (joints - joints // 2, joints // 2)
    groups = [ActionGroup("joint", halves[0])]
    groups += [ActionGroup("gripper", bounds=(0.0, 1.0))] * min(grippers, 1)
    groups += [ActionGroup("joint", halves[1])] if halves[1] else []
    groups += [ActionGroup("gripper", bounds=(0.0, 1.0))] * max(grippers - 1, 0)
    return ActionSpec(tuple(groups))


def motion(spec: ActionSpec, horizon: int, count: int, seed: int = 0) -> np.ndarray:
    """Smooth chunks [count, T, A] of related dims; grippers switch at most once."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 1, horizon)[:, None]
    start, speed, bend = rng.normal(size=(3, count, 1, spec.action_dim))
    bend = bend + 0.5 * speed
    chunks = start + speed * time + bend * np.sin(2 * time)
    chunks += 0.02 * rng.normal(size=chunks.shape)
    for group, place in spec.slices("gripper"):
        switch = rng.integers(0, horizon + 1, (count, 1, group.size))
        first = rng.integers(0, 2, (count, 1, group.size))
        closed = (np.arange(horizon)[:, None] >= switch) ^ first.astype(bool)
        chunks[..., place] = np.where(closed, group.commands[1], group.commands[0])
    return chunks.astype(np.float32)


@functools.lru_cache
def tokenizer(dense: bool = True, spec: ActionSpec = LIBERO, horizon: int = 8) -> OrderedTokenizer:
    """Fitted to `motion`; five tokens besides headers."""
    chunks = motion(spec, horizon, 600)
    space = ActionSpace.fit(chunks, spec)
    coefficients = Coefficients(space)
    parts, held_out = coefficients.split(chunks[:500]), coefficients.split(chunks[500:])
    shared = fitting.shared_path(parts, 5)
    path = fitting.dense_path(TRAINING, parts, held_out, 5) if dense else None
    return fitting.assemble(coefficients, parts, held_out, shared, path)


def untrained(chunks: np.ndarray, num_tokens: int = 2, hidden_dim: int = 4) -> OrderedTokenizer:
    """Both paths, the dense one as training starts it."""
    space = ActionSpace.fit(chunks)
    coefficients = Coefficients(space)
    parts = coefficients.split(chunks)
    rows = fitting.as_rows(parts)
    quantizer = OrderedTrainingConfig(hidden_dim=hidden_dim).quantizer(rows, num_tokens)
    state = conditional_start.frozen(rfsq.calibrate(quantizer, rows.z))
    dense = DensePath(quantizer, state, space.horizon)
    return fitting.assemble(
        coefficients, parts, parts, fitting.shared_path(parts, num_tokens), dense
    )
