"""From chunks to an ordered tokenizer: statistics for the shared path, training for the dense one.

Axes: B chunks · T steps of a chunk · A action dims · H headers · N tokens without headers.
"""

from __future__ import annotations

import dataclasses
from typing import Unpack

import jax
import numpy as np
from jaxtyping import Float

from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.data.synthetic_motion import MotionShape
from rfsq_jax.rfsq import conditional_start
from rfsq_jax.rfsq.config import MAX_CONDITIONAL_DIM
from rfsq_jax.runs.checks import require
from rfsq_jax.tokenizers.ordered import grippers
from rfsq_jax.tokenizers.ordered.coefficients import Coefficients, Parts
from rfsq_jax.tokenizers.ordered.paths import DensePath, Path, SharedPath
from rfsq_jax.tokenizers.ordered.record import OrderedConfig
from rfsq_jax.tokenizers.ordered.round_trip import largest_error
from rfsq_jax.tokenizers.ordered.shared import Prior
from rfsq_jax.tokenizers.ordered.shared_files import load_shared
from rfsq_jax.tokenizers.ordered.tokenizer import OrderedTokenizer
from rfsq_jax.training.loop import RunOptions
from rfsq_jax.training.ordered import shared_sets
from rfsq_jax.training.ordered import training as trainer
from rfsq_jax.training.ordered.training import OrderedTrainingConfig, Rows

HELD_OUT = 0.1
FEWEST_OF_RUN, MOST_RUNS = 20, 50
"""So many runs of neighbours at most are held out: one for each so many chunks without overlap."""
FEWEST_CHUNKS = 4_000
"""For a dense path; with fewer its networks, of a million weights, remember instead of learn."""
MEASURED = 4_000
"""Chunks, at most, that a path's errors are measured on."""
REPORTED = 1.5
"""A round trip is reported from this many times the largest error of held-out chunks on."""


def fit(
    space: ActionSpace,
    chunks: Float[np.ndarray, "b t a"],
    held_out: Float[np.ndarray, "h t a"] | None = None,
    *,
    num_tokens: int | None = None,
    training: OrderedTrainingConfig | None = None,
    seed: int = 0,
    dense: bool = True,
    synthetic: bool = False,
    **run: Unpack[RunOptions],
) -> OrderedTokenizer:
    """Fits to chunks in robot units.

    Args:
      space: of the chunks.
      chunks: what is fitted to.
      held_out: of other episodes; by default a tenth of the chunks, in runs of neighbours.
      num_tokens: tokens besides headers; by default `default_tokens`.
      training: of the dense path.
      seed: of that training, where none is given.
      dense: whether to train a dense path if there are chunks enough; else nothing is trained.
      synthetic: whether the shared path's prior is as much of synthetic motion as of the chunks,
        for robots that are not known yet.
      run: see `training.loop.RunOptions`.

    Raises:
      ValueError: if no dim moves, or the horizon is beyond the shared networks'.
    """
    if training is None:
        loop = dataclasses.replace(OrderedTrainingConfig().loop, seed=seed)
        training = OrderedTrainingConfig(loop=loop)
    if held_out is None:
        chunks, held_out = _split(chunks)
    coefficients = Coefficients.fit(space, chunks)
    moving = len(coefficients.moving_dims)
    require(moving > 0, "actions", "with a dim that is no gripper", space.spec.kinds)
    parts, measured = coefficients.split(chunks), coefficients.split(held_out)
    dense = dense and is_enough(parts)
    count = num_tokens or default_tokens(space.horizon, moving, dense)
    shared = shared_path(with_synthetic(parts) if synthetic else parts, count)
    found = None
    if dense:
        found = dense_path(training, parts, measured, count, **run)
        if _error(found, measured) > _error(shared, measured):
            found = None
    return assemble(coefficients, parts, measured, shared, found)


def default_tokens(horizon: int, moving_dims: int, dense: bool = True) -> int:
    """20 tokens for 8 steps of 6 dims, less than proportionally more for longer chunks.

    Those of the shared path say less, so that it takes 32.
    """
    usual = 20 if dense else 32
    return min(64, max(4, round(usual * (horizon * moving_dims / 48) ** 0.6)))


def is_enough(parts: Parts) -> bool:
    """Whether a dense path can be trained on these chunks."""
    dim = parts.coefficients[0].size
    return len(parts.coefficients) >= FEWEST_CHUNKS and 4 <= dim <= MAX_CONDITIONAL_DIM


def shared_path(parts: Parts, num_tokens: int) -> SharedPath:
    """The bundled network of the horizon, with the chunks' statistics."""
    config, params = load_shared(parts.coefficients.shape[1])
    return SharedPath(config, params, Prior.fit(parts.coefficients), num_tokens)


def with_synthetic(parts: Parts) -> Parts:
    """Some of the chunks, and as many of synthetic motion, without any gripper."""
    _, horizon, dims = parts.coefficients.shape
    shape = MotionShape(sets=64, chunks=64, steps=horizon, dims=dims)
    made = np.asarray(shared_sets.synthetic(shape, jax.random.key(0))).reshape(-1, horizon, dims)
    some = parts.spread(len(made)).coefficients
    both = np.concatenate([some, made[: len(some)]])
    return Parts(both, np.zeros((*both.shape[:2], 0), bool))


def dense_path(
    training: OrderedTrainingConfig,
    parts: Parts,
    held_out: Parts,
    num_tokens: int,
    **run: Unpack[RunOptions],
) -> DensePath:
    """Trains networks, and freezes them to integers."""
    rows, measured = as_rows(parts), as_rows(held_out)
    quantizer = training.quantizer(rows, num_tokens)
    state = trainer.train(training, quantizer, rows, measured, **run)
    return DensePath(quantizer, conditional_start.frozen(state), parts.coefficients.shape[1])


def assemble(
    coefficients: Coefficients,
    parts: Parts,
    held_out: Parts,
    shared: SharedPath,
    dense: DensePath | None,
) -> OrderedTokenizer:
    """Joins paths with words for the grippers, and finds out how large errors usually are."""
    # The shared path saw none of the chunks, so that all of them are a fair measure.
    largest = _largest(shared, parts) if dense is None else _largest(dense, held_out)
    patterns = [parts.grippers[..., index] for index in range(parts.grippers.shape[-1])]
    config = OrderedConfig(
        num_tokens=shared.num_tokens,
        switches=tuple(grippers.fit_switches(pattern) for pattern in patterns),
        usual=(0,) * max(len(patterns), int(dense is not None)),
        largest_error=REPORTED * largest,
        shared=shared.config,
        dense=None if dense is None else dense.config,
        moving_grippers=coefficients.moving_grippers,
    )
    space = coefficients.space
    headers = config.headers(space.horizon).encode(
        parts.grippers, np.zeros(len(parts.grippers), np.int32)
    )
    usual = tuple(int(np.bincount(column).argmax()) for column in headers.T)
    return OrderedTokenizer(space, dataclasses.replace(config, usual=usual), shared, dense)


def _split(
    chunks: Float[np.ndarray, "b t a"],
) -> tuple[Float[np.ndarray, "m t a"], Float[np.ndarray, "h t a"]]:
    """Holds out runs of neighbours, spread over all; what overlaps with them is in neither part."""
    count, horizon = chunks.shape[:2]
    runs = int(np.clip(count // (FEWEST_OF_RUN * horizon), 1, MOST_RUNS))
    size = max(1, round(HELD_OUT * count / runs))
    ends = np.linspace(count / runs, count, runs).round().astype(np.int64)
    held_out = np.zeros(count, bool)
    held_out[(ends[:, None] - 1 - np.arange(size)).ravel()] = True
    near = np.convolve(held_out, np.ones(2 * horizon - 1))[horizon - 1 :][:count] > 0.5
    near[:1] &= not near.all()
    return chunks[~near], chunks[held_out]


def as_rows(parts: Parts) -> Rows:
    """What the dense path is trained on: one vector per chunk, and signs of its grippers."""
    return Rows(
        parts.coefficients.reshape(len(parts.coefficients), -1), grippers.context(parts.grippers)
    )


def _error(path: Path, parts: Parts) -> float:
    some = parts.spread(MEASURED)
    return float(np.mean(np.square(path.encode(some).coefficients - some.coefficients)))


def _largest(path: Path, parts: Parts) -> float:
    some = parts.spread(MEASURED)
    return max(float(largest_error(some, path.encode(some)).max()), 1e-4)
