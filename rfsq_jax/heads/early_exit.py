"""Stops after the early part of the backbone where the draft head is sure of itself.

Axes: B batch · T steps of a chunk · A action dims · N frames.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rfsq_jax.backbones.protocol import Backbone, Carry, Inputs, Params
from rfsq_jax.heads.prediction import Predictor
from rfsq_jax.rfsq.layers import AnyArray
from rfsq_jax.runs.checks import require

NEVER = float(np.finfo(np.float32).max)
"""A threshold that no confidence reaches; finite, so that JSON can hold it."""
MAX_EXCESS = 0.015
"""Half of what an exit may cost in error: new episodes differ from those of the calibration."""


class EarlyExit(NamedTuple):
    """What a batch gets.

    Attributes:
      actions: float32 [B, T, A], normalised.
      exited: bool [B], where the draft's actions were taken.
      confidence: float32 [B], of the draft.
    """

    actions: Float[Array, "b t a"]
    exited: Bool[Array, " b"]
    confidence: Float[Array, " b"]


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one sample costs, in FLOPs or seconds.

    Attributes:
      full: without a draft: the whole backbone and the main head.
      exit: early part, draft, and its actions.
      stay: the same, then late part and main head.
    """

    full: float
    exit: float
    stay: float


@dataclasses.dataclass(frozen=True)
class CurvePoint:
    """What a threshold does to the mean sample; times and FLOPs are relative to `Cost.full`.

    Attributes:
      threshold: confidence from which a sample exits.
      exit_share: of all samples.
      flops: over those of the full policy.
      seconds: over those of the full policy.
      error: over that of the main head.
    """

    threshold: float
    exit_share: float
    flops: float
    seconds: float
    error: float


def early_exit(
    backbone: Backbone,
    predictor: Predictor,
    params: Params,
    inputs: Inputs,
    state: Float[AnyArray, "b 8"],
    threshold: float | Float[AnyArray, ""],
    block: int = 1,
) -> EarlyExit:
    """The draft's actions where it is confident, the main head's elsewhere. Pure, for jit.

    Args:
      backbone: its late part runs only for samples that stay, in blocks.
      predictor: heads of tokens, with a draft.
      params: of the backbone.
      inputs: of `Backbone.prepare`.
      state: normalised.
      threshold: confidence from which a sample exits; -inf: all, NEVER: none.
      block: samples that stay together; of the last block some may be computed in vain.
    """
    drafted, sure, carry = draft_part(backbone, predictor, params, inputs, state)
    exited = sure >= threshold

    def stay(rows: tuple[Carry, Array]) -> Float[Array, "n t a"]:
        return predictor.main_actions(backbone.late(params, rows[0]), rows[1])

    actions = run_where(~exited, stay, (carry, jnp.asarray(state)), drafted, block)
    return EarlyExit(actions, exited, sure)


def draft_part(
    backbone: Backbone,
    predictor: Predictor,
    params: Params,
    inputs: Inputs,
    state: Float[AnyArray, "b 8"],
) -> tuple[Float[Array, "b t a"], Float[Array, " b"], Carry]:
    """What runs for every sample: the draft's actions and confidence, and what the rest needs."""
    features, carry = backbone.early(params, inputs)
    logits = predictor.heads.draft(features, state)
    return predictor.prefix_actions(logits), predictor.confidence(logits), carry


def run_where(
    needed: Bool[Array, " b"],
    function: Callable[[Any], Any],
    carry: Any,
    default: Any,
    block: int,
) -> Any:
    """Runs a function of a batch only on the rows that need it, ceil(their number / block) times.

    Args:
      needed: which rows.
      function: pytree [block, ...] -> pytree [block, ...]; rows must not depend on each other.
      carry: its input, pytree [B, ...].
      default: what the other rows get: pytree [B, ...], as the function's output.
      block: rows in one call; at most B are used.

    Raises:
      ValueError: if `block` is below 1.
    """
    require(block >= 1, "block", "at least 1", block)
    size = len(needed)
    block = min(block, size)
    order = jnp.argsort(~needed, stable=True)
    calls = (jnp.sum(needed) + block - 1) // block

    def step(index: Array, results: Any) -> Any:
        # The last slice is moved back to fit: it runs rows again, and rows that are not needed.
        rows = jax.lax.dynamic_slice(order, (index * block,), (block,))
        taken = jax.tree.map(lambda leaf: leaf[rows], carry)
        # Of a single row a compiler knows which it is, and would run the function once in advance.
        taken, _ = jax.lax.optimization_barrier((taken, index))
        found = function(taken)
        return jax.tree.map(functools.partial(_write, rows, needed[rows]), results, found)

    return jax.lax.fori_loop(0, calls, step, default)


def calibrate_threshold(
    confidence: Float[np.ndarray, " n"],
    error_draft: Float[np.ndarray, " n"],
    error_main: Float[np.ndarray, " n"],
    max_excess: float = MAX_EXCESS,
) -> float:
    """The threshold of the largest exit share whose mean error is within bounds.

    Args:
      confidence: of the draft on frames that no head was trained on.
      error_draft: error of each frame's actions if it exits.
      error_main: error if it stays.
      max_excess: the mean error may be 1 + max_excess times that of the main head. On other
        episodes it comes out up to about 0.015 higher: ask for less than you can bear.

    Returns:
      The confidence from which to exit; NEVER if no frame may.

    Raises:
      ValueError: if there are no frames, or the confidence is not finite.
    """
    if not len(confidence) or not np.isfinite(confidence).all():
        raise ValueError(f"confidence must be finite, of at least 1 frame, got {confidence!r}")
    order = np.argsort(-confidence, kind="stable")
    excess = np.cumsum((error_draft - error_main)[order], dtype=np.float64)
    allowed = excess <= max_excess * error_main.sum(dtype=np.float64)
    # Frames of one confidence exit together.
    allowed[:-1] &= np.diff(confidence[order]) < 0
    return float(confidence[order][np.flatnonzero(allowed)[-1]]) if allowed.any() else NEVER


def curve(
    confidence: Float[np.ndarray, " n"],
    error_draft: Float[np.ndarray, " n"],
    error_main: Float[np.ndarray, " n"],
    thresholds: Sequence[float],
    flops: Cost,
    seconds: Cost,
) -> list[CurvePoint]:
    """What each threshold would do on these frames, one sample at a time."""

    def point(threshold: float) -> CurvePoint:
        exits = confidence >= threshold
        share = float(exits.mean())
        relative_flops, relative_seconds = (
            (share * cost.exit + (1 - share) * cost.stay) / cost.full for cost in (flops, seconds)
        )
        error = np.where(exits, error_draft, error_main).mean(dtype=np.float64)
        relative_error = float(error / error_main.mean(dtype=np.float64))
        return CurvePoint(threshold, share, relative_flops, relative_seconds, relative_error)

    return [point(threshold) for threshold in thresholds]


def _write(rows: Int[Array, " n"], wanted: Bool[Array, " n"], results: Array, new: Array) -> Array:
    wanted = wanted.reshape(-1, *[1] * (new.ndim - 1))
    return results.at[rows].set(jnp.where(jnp.broadcast_to(wanted, new.shape), new, results[rows]))
