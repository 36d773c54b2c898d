"""Teaches a draft head what a trained main head says, instead of what happened to be recorded.

A demonstration shows one of the actions that could follow. The main head's distributions show all
of them, so they are easier to learn, and they are what an early exit is measured against.

Axes: B batch · T steps of a chunk · D latent dims · P coarse layers · K levels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Unpack

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rfsq_jax.heads import network, proprio
from rfsq_jax.parallel import sharding
from rfsq_jax.policies.parts import PolicyParts
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.trees import Params
from rfsq_jax.training.feeding import Feed
from rfsq_jax.training.heads.objective import Batch, drop_tokens
from rfsq_jax.training.heads.training import AveragedTraining, train_averaged
from rfsq_jax.training.loop import LoopConfig, Metrics, RunOptions
from rfsq_jax.training.state import OptimizerConfig


@dataclasses.dataclass(frozen=True)
class DraftTraining(AveragedTraining):
    """One training run of a draft head.

    Attributes:
      layer_weights: weight of each coarse layer's cross-entropy.
      feature_dropout: share of the feature tokens that show pictures that the draft does not see.
      state_noise: standard deviation of noise on the normalised state that the draft sees.
    """

    layer_weights: tuple[float, ...] = (3.0, 1.5, 1.0)
    feature_dropout: float = 0.3
    state_noise: float = 0.05
    optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=1e-3, final_fraction=1e-2, weight_decay=0.05, clip_norm=1.0
    )
    loop: LoopConfig = LoopConfig(steps=8_000, steps_per_call=10, evaluate_every=2_000)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive = all(weight > 0 for weight in self.layer_weights)
        require(positive, "layer_weights", "above 0", self.layer_weights)
        require(0 <= self.feature_dropout < 1, "feature_dropout", "in [0, 1)", self.feature_dropout)
        require(self.state_noise >= 0, "state_noise", "0 or more", self.state_noise)


def distill(
    config: DraftTraining,
    parts: PolicyParts,
    feed: Feed,
    evaluate: Callable[[Params], dict[str, float]],
    **run: Unpack[RunOptions],
) -> Params:
    """Trains the draft further, or resumes; returns all heads' parameters, the main head's as is.

    Args:
      config: how.
      parts: a policy with a trained main head, and the draft to begin with.
      feed: gives `Batch`es.
      evaluate: figures of all heads' parameters.
      run: the best by the checkpoints' metric is returned, without any the last.

    Raises:
      FloatingPointError: if the loss becomes NaN or inf.
      ValueError: if the policy has no draft, or there is not one weight per coarse layer.
    """
    require(parts.config.draft is not None, "policy", "one with a draft", parts.config)
    coarse, weights = parts.shape.codes.coarse, config.layer_weights
    require(len(weights) == coarse, "layer_weights", f"{coarse}, one per layer", weights)
    objective = make_objective(config, parts)

    def watched(draft: Params, batch: Batch, key: Array, _: Array) -> tuple[Array, Metrics]:
        loss = objective(draft, batch, key)
        return loss, {"loss": loss}

    def joined(draft: Params) -> Params:
        return {**parts.params, "draft": draft}

    run.setdefault("description", "draft")
    start = parts.params["draft"]

    def figures(draft: Params) -> dict[str, float]:
        return evaluate(joined(sharding.fetch(draft)))

    return joined(train_averaged(config, start, watched, feed, figures, **run))


def make_objective(
    config: DraftTraining, parts: PolicyParts
) -> Callable[[Params, Batch, Array], Float[Array, ""]]:
    """Returns the loss of the draft's parameters: cross-entropy to what the main head says."""
    weights = jnp.asarray(config.layer_weights) / sum(config.layer_weights)
    fixed = jax.device_get(parts.params)

    def objective(draft: Params, batch: Batch, key: Array) -> Float[Array, ""]:
        heads = network.bind(parts.config, parts.shape, {**fixed, "draft": draft})
        drop_key, noise_key = jax.random.split(key)
        state = proprio.normalize(parts.statistics, batch.state)
        wanted = jax.nn.softmax(heads.main.coarse(heads.main.hidden(batch.final, state)))
        noisy = state + config.state_noise * jax.random.normal(noise_key, state.shape)
        seen = drop_tokens(drop_key, batch.early, parts.shape.early, config.feature_dropout)
        said = jax.nn.log_softmax(heads.draft(jnp.asarray(seen), noisy))
        per_layer = -jnp.sum(wanted * said, axis=-1).mean(axis=(0, 1, 2))
        return jnp.sum(per_layer * weights)

    return objective
