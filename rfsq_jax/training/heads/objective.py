"""What heads minimise on a batch, and how their inputs are disturbed meanwhile.

Axes: B batch · T steps of a chunk · A action dims · D latent dims · L layers, of which P coarse ·
K levels · S feature tokens · E their width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rfsq_jax.backbones.protocol import Depth
from rfsq_jax.heads import network, proprio
from rfsq_jax.heads.config import HeadsConfig
from rfsq_jax.heads.network import Heads, HeadsShape
from rfsq_jax.heads.proprio import ProprioStatistics
from rfsq_jax.rfsq.layers import AnyArray
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.records import require_types
from rfsq_jax.training.loop import Metrics


@dataclasses.dataclass(frozen=True)
class HeadsLoss:
    """What token heads minimise, and how their inputs are disturbed.

    Attributes:
      layer_weights: weight of each layer's cross-entropy; fine layers, mostly noise, get little.
      smoothing: share of a target's mass that goes to the neighbouring levels.
      own_codes: share of the steps, at the end of training, whose fine layers are conditioned on
        the head's own coarse codes instead of the true ones; it rises linearly from 0.
      perturbation: share of the true coarse codes that are moved by one level where they condition.
      balance: weight of `imbalance`.
      fine_dropout: share of the hidden values that the fine layers do not see; what is left of them
        is mostly noise, which a head would rather learn by heart.
      feature_dropout: share of the feature tokens that show pictures that is zeroed.
      state_noise: standard deviation of noise on the normalised state.
    """

    layer_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 0.2, 0.2, 0.2, 0.2, 0.2)
    smoothing: float = 0.0
    own_codes: float = 1.0
    perturbation: float = 0.0
    balance: float = 0.0
    fine_dropout: float = 0.7
    feature_dropout: float = 0.3
    state_noise: float = 0.1

    def __post_init__(self) -> None:
        require_types(self)
        for field in ("smoothing", "own_codes", "perturbation", "fine_dropout", "feature_dropout"):
            value = getattr(self, field)
            require(0 <= value <= 1, field, "in [0, 1]", value)
        require(self.fine_dropout < 1, "fine_dropout", "below 1", self.fine_dropout)
        for field in ("balance", "state_noise"):
            require(getattr(self, field) >= 0, field, "0 or more", getattr(self, field))
        positive = all(weight > 0 for weight in self.layer_weights)
        require(positive, "layer_weights", "above 0", self.layer_weights)


class Batch(NamedTuple):
    """What a step reads; `early` and `codes` are None where nothing needs them.

    Attributes:
      final: float [B, S, E].
      early: float [B, S', E'].
      state: float32 [B, 8], raw.
      actions: float32 [B, T, A], normalised.
      targets: int [B, T, D, L] codes, or [B, T, A] bins.
    """

    final: Any
    early: Any
    state: Any
    actions: Any
    targets: Any


def make_objective(
    config: HeadsConfig, loss: HeadsLoss, shape: HeadsShape, statistics: ProprioStatistics
) -> Callable[..., tuple[Array, Metrics]]:
    """Returns a function of (parameters, batch, key, share of the run done) -> loss, metrics."""
    kinds = {"tokens": _token_loss, "bins": _bin_loss, "regression": _regression_loss}
    kind = kinds[config.kind]

    def objective(
        params: network.Params, batch: Batch, key: Array, progress: Array
    ) -> tuple[Array, Metrics]:
        heads = network.bind(config, shape, params)
        keys = jax.random.split(key, 4)
        state = proprio.normalize(statistics, batch.state)
        state = state + loss.state_noise * jax.random.normal(keys[0], state.shape)
        batch = batch._replace(
            state=state,
            final=drop_tokens(keys[1], batch.final, shape.final, loss.feature_dropout),
            early=drop_tokens(keys[2], batch.early, shape.early, loss.feature_dropout),
        )
        metrics = kind(loss, heads, batch, keys[3], progress)
        parts = [value for name, value in metrics.items() if name.startswith("loss_")]
        total = jnp.sum(jnp.stack(parts))
        return total, {"loss": total, **metrics}

    return objective


def _token_loss(
    config: HeadsLoss, heads: Heads, batch: Batch, key: Array, progress: Array
) -> Metrics:
    main, codes = heads.main, batch.targets.astype(jnp.int32)
    coarse, levels = main.codes.coarse, main.codes.num_levels
    weights = jnp.asarray(config.layer_weights)
    hidden = main.hidden(batch.final, batch.state)
    logits = main.coarse(hidden)
    given = _conditioning(config, codes[..., :coarse], logits, levels, key, progress)
    kept = jax.random.bernoulli(key, 1.0 - config.fine_dropout, hidden.shape)
    seen = jnp.where(kept, hidden, 0) / (1.0 - config.fine_dropout)
    logits = jnp.concatenate([logits, main.fine(seen, given)], axis=-2)
    metrics = {"loss_main": cross_entropy(logits, codes, weights, config.smoothing)}
    if config.balance:
        metrics["loss_balance"] = config.balance * imbalance(logits, codes)
    if hasattr(heads, "draft"):
        first = codes[..., :coarse]
        draft = heads.draft(batch.early, batch.state)
        metrics["loss_draft"] = cross_entropy(draft, first, weights[:coarse], config.smoothing)
        metrics["draft_accuracy"] = _accuracy(draft, first)
    return {**metrics, "accuracy": _accuracy(logits, codes)}


def _conditioning(
    config: HeadsLoss,
    codes: Int[Array, "b t d p"],
    logits: Float[Array, "b t d p k"],
    num_levels: int,
    key: Array,
    progress: Array,
) -> Int[Array, "b t d p"]:
    """The coarse codes that the fine layers see: true, perturbed, and more and more its own."""
    perturb_key, replace_key = jax.random.split(key)
    if config.perturbation:
        codes = perturb(perturb_key, codes, num_levels, config.perturbation)
    own = jnp.argmax(logits, axis=-1)
    return replace_steps(replace_key, codes, own, config.own_codes * progress)


def _bin_loss(
    config: HeadsLoss, heads: Heads, batch: Batch, key: Array, progress: Array
) -> Metrics:
    logits = heads.main(batch.final, batch.state)
    weights = jnp.ones(logits.shape[-2])
    loss = cross_entropy(logits, batch.targets, weights, config.smoothing)
    return {"loss_main": loss, "accuracy": _accuracy(logits, batch.targets)}


def _regression_loss(
    config: HeadsLoss, heads: Heads, batch: Batch, key: Array, progress: Array
) -> Metrics:
    actions = heads.main(batch.final, batch.state)
    return {"loss_main": jnp.mean(jnp.abs(actions - batch.actions))}


def _accuracy(logits: Float[Array, "*n k"], codes: Int[Array, "*n"]) -> Float[Array, ""]:
    return jnp.mean(jnp.argmax(logits, axis=-1) == codes)


def drop_tokens(key: Array, features: Array | None, depth: Depth, share: float) -> Array | None:
    """Zeroes a share of the tokens that show pictures."""
    if features is None or not share:
        return features
    kept = jax.random.bernoulli(key, 1.0 - share, features.shape[:2])
    kept = kept.at[:, depth.image_tokens :].set(True)
    return jnp.where(kept[..., None], features, 0)


def level_targets(
    codes: Int[AnyArray, "*n"], num_levels: int, smoothing: float = 0.0
) -> Float[Array, "*n k"]:
    """Target distributions: `smoothing` of the mass goes to the neighbouring levels.

    A level beside the right one is nearly the right action, one far off is not, so the mass is not
    spread over all levels. At an edge the only neighbour takes it all.
    """
    codes = jnp.asarray(codes)[..., None]
    levels = jax.lax.broadcasted_iota(codes.dtype, (*codes.shape[:-1], num_levels), codes.ndim - 1)
    distance = jnp.abs(levels - codes)
    beside = (distance == 1).astype(jnp.float32)
    beside = beside / beside.sum(axis=-1, keepdims=True)
    return (1.0 - smoothing) * (distance == 0) + smoothing * beside


def cross_entropy(
    logits: Float[AnyArray, "*n l k"],
    codes: Int[AnyArray, "*n l"],
    weights: Float[Array, " l"],
    smoothing: float = 0.0,
) -> Float[Array, ""]:
    """Mean cross-entropy, layers weighted; nats per token."""
    targets = level_targets(codes, logits.shape[-1], smoothing)
    losses = -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)
    per_layer = losses.mean(axis=tuple(range(losses.ndim - 1)))
    return jnp.sum(per_layer * weights) / jnp.sum(weights)


def imbalance(logits: Float[AnyArray, "*n l k"], codes: Int[AnyArray, "*n l"]) -> Float[Array, ""]:
    """KL divergence from the batch's true use of levels to the predicted one, per layer; nats.

    Predictions that always name the majority level score well token by token; their average use
    of levels does not. (The token-balance regularisation of ProAct, on the predictor's side.)
    """
    axes = tuple(range(codes.ndim - 1))
    used = jax.nn.one_hot(codes, logits.shape[-1]).mean(axis=axes)
    predicted = jax.nn.softmax(logits).mean(axis=axes)
    ratio = jnp.log(jnp.maximum(used, 1e-9)) - jnp.log(jnp.maximum(predicted, 1e-9))
    return jnp.mean(jnp.sum(used * ratio, axis=-1))


def perturb(
    key: Array, codes: Int[AnyArray, "*n"], num_levels: int, share: float
) -> Int[Array, "*n"]:
    """Moves a share of the codes by one level, up or down, within the levels."""
    chosen_key, sign_key = jax.random.split(key)
    chosen = jax.random.bernoulli(chosen_key, share, codes.shape)
    shift = jnp.where(jax.random.bernoulli(sign_key, 0.5, codes.shape), 1, -1)
    return jnp.where(chosen, jnp.clip(codes + shift, 0, num_levels - 1), codes)


def replace_steps(
    key: Array, codes: Int[AnyArray, "b t d l"], own: Int[Array, "b t d l"], share: Float[Array, ""]
) -> Int[Array, "b t d l"]:
    """Takes a head's own codes instead of the true ones for a share of the steps, whole steps."""
    chosen: Bool[Array, "b t"] = jax.random.bernoulli(key, share, codes.shape[:2])
    return jnp.where(chosen[..., None, None], own, codes)
