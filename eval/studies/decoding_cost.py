"""What decoding costs at batch 1, in floating-point operations and in time."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from eval.benchmarks.timing import Work, flops_of, repeated
from rfsq_jax.backbones.protocol import Backbone
from rfsq_jax.evaluation.results import noise
from rfsq_jax.heads.decoding import speculate_logits
from rfsq_jax.heads.early_exit import NEVER, Cost, draft_part
from rfsq_jax.heads.prediction import of_logits
from rfsq_jax.policies.parts import PolicyParts
from rfsq_jax.policies.token_policy import TokenPolicy
from rfsq_jax.runs.trees import Params

FULL, SPECULATIVE, EXIT, STAY = "greedy", "speculative", "exits early", "stays"
GREEDY, RIGHT, WRONG = "greedy", "proposal all right", "proposal with one wrong"


def policy_contestants(parts: PolicyParts, backbone: Backbone, calls: int) -> dict[str, Work]:
    """`Policy.act` for one environment: pictures in, actions out."""

    def acting(mode: Any, threshold: float | None = None) -> Work:
        chosen = dataclasses.replace(parts, threshold=threshold)
        policy = TokenPolicy(chosen, backbone, mode)
        return repeated(lambda: policy.act(observations), calls)

    observations = noise(backbone)
    return {
        FULL: acting("greedy"),
        SPECULATIVE: acting("speculative"),
        EXIT: acting("early_exit", -np.inf),
        STAY: acting("early_exit", NEVER),
    }


def heads_contestants(parts: PolicyParts, calls: int) -> dict[str, Work]:
    """The main head and the decoder: final features in, actions out; greedily or verifying."""

    @jax.jit
    def greedy(params: Params, features: Float[Array, "b s e"], state: Float[Array, "b 8"]) -> Any:
        return parts.predictor(params).main(features, parts.normalize_state(state))

    @jax.jit
    def verify(
        params: Params,
        features: Float[Array, "b s e"],
        state: Float[Array, "b 8"],
        proposal: Int[Array, "b t d p"],
    ) -> Any:
        predictor, state = parts.predictor(params), parts.normalize_state(state)
        logits, _ = speculate_logits(predictor.heads.main, proposal, features, state)
        return of_logits(predictor.code_decoder, logits)

    depth = parts.shape.final
    features = np.random.default_rng(0).normal(size=(1, depth.tokens, depth.width))
    inputs = parts.params, features.astype(np.float16), np.zeros((1, 8), np.float32)
    right = np.asarray(greedy(*inputs).codes)[..., : parts.shape.codes.coarse]
    wrong = right.copy()
    wrong[0, 0, 0, 0] = (wrong[0, 0, 0, 0] + 1) % parts.shape.codes.num_levels
    return {
        GREEDY: repeated(lambda: jax.device_get(greedy(*inputs)), calls),
        RIGHT: repeated(lambda: jax.device_get(verify(*inputs, right)), calls),
        WRONG: repeated(lambda: jax.device_get(verify(*inputs, wrong)), calls),
    }


def count_flops(parts: PolicyParts, backbone: Backbone) -> Cost:
    """Floating-point operations of one sample, as XLA counts them in the compiled programs."""
    seen = noise(backbone)
    inputs = backbone.prepare(seen)
    weights = (backbone.params, parts.params)

    def first(weights: Any, inputs: Any, state: Any) -> Any:
        predictor, state = parts.predictor(weights[1]), parts.normalize_state(state)
        return draft_part(backbone, predictor, weights[0], inputs, state)

    def last(weights: Any, carry: Any, state: Any) -> Any:
        predictor, state = parts.predictor(weights[1]), parts.normalize_state(state)
        return predictor.main_actions(backbone.late(weights[0], carry), state)

    def full(weights: Any, inputs: Any, state: Any) -> Any:
        return last(weights, backbone.early(weights[0], inputs)[1], state)

    carry = jax.eval_shape(first, weights, inputs, seen.state)[2]
    early = flops_of(first, weights, inputs, seen.state)
    late = flops_of(last, weights, carry, seen.state)
    return Cost(flops_of(full, weights, inputs, seen.state), early, early + late)
