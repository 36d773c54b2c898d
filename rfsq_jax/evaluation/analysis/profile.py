"""What a policy does with its time, and how often its draft is right, on a sample of a run's
observations.

Axes: B batch · T steps of a chunk · A action dims · D latent dims · L layers, of which P coarse ·
K levels · S feature tokens · E their width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from rfsq_jax.heads.decoding import greedy_logits, speculate
from rfsq_jax.heads.prediction import of_logits
from rfsq_jax.policies import Observations, Policy
from rfsq_jax.policies.openvla import OpenVLAPolicy
from rfsq_jax.policies.token_policy import TokenPolicy
from rfsq_jax.runs.trees import Params

ROUNDS = 15


def time_policy(policy: Policy, sample: Sequence[Observations], batch: int) -> dict[str, float]:
    """Median seconds of one call: preprocess, backbone, all together ("act"), and further parts.

    Heads on a backbone also have "heads" and, if they predict tokens, "decode". The parts are
    compiled apart, decoded greedily, so their sum is not exactly "act".

    Args:
      policy: what is timed.
      sample: at least one observation of one environment.
      batch: rows of a call.
    """
    seen = Observations.stack([sample[index % len(sample)] for index in range(batch)])
    inputs = policy.backbone.prepare(seen)
    parts: dict[str, Callable[[], Any]] = {
        "preprocess": lambda: policy.backbone.prepare(seen),
        "act": lambda: policy.act(seen),
    }
    if isinstance(policy, OpenVLAPolicy):
        parts["backbone"] = lambda: policy.answer(inputs)
    elif isinstance(policy, TokenPolicy):
        parts |= _parts_of_heads(policy, inputs, seen)
    return {name: _median_seconds(work) for name, work in parts.items()}


def _parts_of_heads(
    policy: TokenPolicy, inputs: Any, seen: Observations
) -> dict[str, Callable[[], Any]]:
    """The parts of a policy, each compiled by itself."""
    parts, backbone = policy.parts, policy.backbone
    embed = jax.jit(lambda frozen, x: backbone.late(frozen, backbone.early(frozen, x)[1]))

    @jax.jit
    def predict(params: Params, features: Any, state: Any) -> Any:
        predictor = parts.predictor(params)
        if predictor.kind == "tokens":
            return greedy_logits(predictor.heads.main, features, state)
        return predictor.main_actions(features, state)

    @jax.jit
    def decode(logits: Any) -> Any:
        predicted = of_logits(parts.token_decoder.decoder, logits)
        return predicted.actions(parts.config.point_estimate)

    features, state = embed(backbone.params, inputs), _normalized(policy, seen)
    stages: dict[str, Callable[[], Any]] = {
        "backbone": lambda: embed(backbone.params, inputs),
        "heads": lambda: predict(parts.params, features, state),
    }
    if policy.kind == "tokens":
        logits = predict(parts.params, features, state)
        stages["decode"] = lambda: decode(logits)
    return stages


def draft_figures(policy: Policy, sample: Sequence[Observations]) -> dict[str, Any] | None:
    """How much of the draft's proposals the main head would have said itself.

    Returns:
      shares of accepted tokens by coarse layer, of steps first to last, and of whole chunks, and of
      observations that an early exit would answer; None for a policy without a draft.
    """
    if not isinstance(policy, TokenPolicy) or policy.parts.config.draft is None:
        return None
    propose = _draft_stage(policy)
    counts = [propose(each) for each in sample]
    tokens, steps, chunks, sure = (np.stack(each) for each in zip(*counts, strict=True))
    codes, threshold = policy.parts.shape.codes, policy.parts.threshold
    return {
        "questions": len(sample),
        "tokens_per_layer": (tokens.mean(axis=0) / (codes.horizon * codes.dim)).tolist(),
        "steps": steps.mean(axis=0).tolist(),
        "whole_chunks": float(chunks.mean()),
        "would_exit": None if threshold is None else float((sure >= threshold).mean()),
    }


def _draft_stage(policy: TokenPolicy) -> Callable[[Observations], tuple[np.ndarray, ...]]:
    """Accepted tokens [P], steps [T], chunks of one environment, and the draft's confidence."""
    parts, backbone = policy.parts, policy.backbone
    embed_early, embed_late = jax.jit(backbone.early), jax.jit(backbone.late)

    @jax.jit
    def propose(params: Params, early: Any, final: Any, state: Any) -> Any:
        predictor = parts.predictor(params)
        logits = predictor.heads.draft(early, state)
        _, accepted = speculate(predictor.heads.main, logits.argmax(axis=-1), final, state)
        sure = predictor.confidence(logits)[0]
        return accepted.tokens, accepted.steps, accepted.chunks, sure

    def count(seen: Observations) -> tuple[np.ndarray, ...]:
        early, carry = embed_early(backbone.params, backbone.prepare(seen))
        final = embed_late(backbone.params, carry)
        return jax.device_get(propose(parts.params, early, final, _normalized(policy, seen)))

    return count


def _normalized(policy: TokenPolicy, seen: Observations) -> Any:
    """The state as the heads see it."""
    return policy.parts.normalize_state(np.asarray(seen.state, np.float32))


def _median_seconds(work: Callable[[], Any]) -> float:
    jax.block_until_ready(work())
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        jax.block_until_ready(work())
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))
