"""Trains a policy's heads on frozen features.

Axes: B batch · T steps of a chunk · A action dims · D latent dims · L layers, of which P coarse ·
K levels · S feature tokens · E their width · N rows of the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from rfsq_jax.backbones.protocol import Depth
from rfsq_jax.checks import require, require_positive
from rfsq_jax.heads import losses, model, proprio
from rfsq_jax.heads.config import HeadsConfig
from rfsq_jax.heads.model import Heads, HeadsShape
from rfsq_jax.heads.proprio import ProprioStatistics
from rfsq_jax.training import sharding
from rfsq_jax.training.checkpoints import Checkpoints
from rfsq_jax.training.feeding import Feed
from rfsq_jax.training.loop import Evaluate, LoopConfig, Metrics, Update, train_on_mesh
from rfsq_jax.training.metrics import MetricWriter
from rfsq_jax.training.optimizer import OptimizerConfig
from rfsq_jax.training.state import TrainState

BEST_METRIC = "held_out_error"
EMA_WARMUP = 10.0


@dataclasses.dataclass(frozen=True)
class HeadsLoss:
    """What token heads minimise, and how their inputs are disturbed.

    Attributes:
      layer_weights: weight of each layer's cross-entropy; fine layers, mostly noise, get little.
      smoothing: share of a target's mass that goes to the neighbouring levels.
      own_codes: share of the steps, at the end of training, whose fine layers are conditioned on
        the head's own coarse codes instead of the true ones; it rises linearly from 0.
      perturbation: share of the true coarse codes that are moved by one level where they condition.
      balance: weight of `losses.imbalance`.
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
        for field in ("smoothing", "own_codes", "perturbation", "fine_dropout", "feature_dropout"):
            value = getattr(self, field)
            require(0 <= value <= 1, field, "in [0, 1]", value)
        require(self.fine_dropout < 1, "fine_dropout", "below 1", self.fine_dropout)
        for field in ("balance", "state_noise"):
            require(getattr(self, field) >= 0, field, "0 or more", getattr(self, field))
        positive = all(weight > 0 for weight in self.layer_weights)
        require(positive, "layer_weights", "above 0", self.layer_weights)


@dataclasses.dataclass(frozen=True)
class HeadsTraining:
    """One training run of a policy's heads.

    Attributes:
      model: the heads.
      loss: what is minimised.
      optimizer: AdamW.
      loop: how long.
      batch_size: chunks per step, over all devices.
      ema: decay of the averaged parameters that are evaluated and kept.
    """

    model: HeadsConfig = HeadsConfig()
    loss: HeadsLoss = HeadsLoss()
    optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=3e-3, final_fraction=1e-2, weight_decay=0.05, clip_norm=1.0
    )
    loop: LoopConfig = LoopConfig(steps=2_000, steps_per_call=10, evaluate_every=500)
    batch_size: int = 64
    ema: float = 0.998

    def __post_init__(self) -> None:
        require_positive(self, "batch_size")
        require(0 <= self.ema < 1, "ema", "in [0, 1)", self.ema)


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


def train(
    config: HeadsTraining,
    shape: HeadsShape,
    statistics: ProprioStatistics,
    feed: Feed,
    evaluate: Callable[[model.Params], dict[str, float]],
    *,
    mesh: Mesh | None = None,
    description: str = "heads",
    checkpoints: Checkpoints | None = None,
    writer: MetricWriter | None = None,
) -> model.Params:
    """Trains or resumes, and returns the averaged parameters of the best evaluation.

    Args:
      config: how.
      shape: sizes of features and codes.
      statistics: of the training frames' states.
      feed: gives `Batch`es.
      evaluate: figures of averaged parameters, `BEST_METRIC` among them.
      mesh: the devices; all by default.
      description: what the progress bar says.
      checkpoints: where to save and resume; without it the last parameters are returned.
      writer: where the curves go.

    Raises:
      FloatingPointError: if the loss becomes NaN or inf.
      ValueError: if there is not one weight per layer.
    """
    layers, weights = shape.codes.num_layers, config.loss.layer_weights
    if config.model.kind == "tokens":
        require(len(weights) == layers, "layer_weights", f"{layers}, one per layer", weights)
    mesh = sharding.make_mesh() if mesh is None else mesh
    start = initial_state(config, shape)
    final = train_on_mesh(
        make_update(config, shape, statistics),
        start,
        feed,
        config=config.loop,
        mesh=mesh,
        description=description,
        evaluate=_of_averages(evaluate),
        checkpoints=checkpoints,
        writer=writer,
    )
    if checkpoints is not None and checkpoints.best_step is not None:
        final = checkpoints.restore(checkpoints.best_step, final)
    return jax.device_get(final.model)


def initial_state(config: HeadsTraining, shape: HeadsShape) -> TrainState:
    """Fresh parameters, and their averages, which begin as the same."""
    params = model.init(config.model, shape, jax.random.key(config.loop.seed))
    averages = jax.tree.map(jnp.copy, params)
    return TrainState.create(params, averages, config.optimizer.build(config.loop.steps))


def make_update(config: HeadsTraining, shape: HeadsShape, statistics: ProprioStatistics) -> Update:
    """Returns one optimiser step on a batch."""
    optimizer = config.optimizer.build(config.loop.steps)
    objective = _objective(config, shape, statistics)
    gradient = jax.value_and_grad(objective, has_aux=True)

    def update(state: TrainState, batch: Batch, key: Array) -> tuple[TrainState, Metrics]:
        progress = state.step / config.loop.steps
        (_, metrics), gradients = gradient(state.params, batch, key, progress)
        moved = state.updated(gradients, state.model, optimizer)
        return dataclasses.replace(moved, model=_average(config.ema, moved)), metrics

    return update


def _average(decay: float, state: TrainState) -> Any:
    """Averages that forget their random beginning: the decay rises with the steps taken."""
    kept = jnp.minimum(decay, (1.0 + state.step) / (EMA_WARMUP + state.step))
    return jax.tree.map(lambda a, p: kept * a + (1 - kept) * p, state.model, state.params)


def _objective(
    config: HeadsTraining, shape: HeadsShape, statistics: ProprioStatistics
) -> Callable[..., tuple[Array, Metrics]]:
    kinds = {"tokens": _token_loss, "bins": _bin_loss, "regression": _regression_loss}
    kind = kinds[config.model.kind]

    def objective(
        params: model.Params, batch: Batch, key: Array, progress: Array
    ) -> tuple[Array, Metrics]:
        heads = model.bind(config.model, shape, params)
        keys = jax.random.split(key, 4)
        state = proprio.normalize(statistics, batch.state)
        state = state + config.loss.state_noise * jax.random.normal(keys[0], state.shape)
        batch = batch._replace(
            state=state,
            final=_drop_tokens(keys[1], batch.final, shape.final, config.loss.feature_dropout),
            early=_drop_tokens(keys[2], batch.early, shape.early, config.loss.feature_dropout),
        )
        metrics = kind(config.loss, heads, batch, keys[3], progress)
        parts = [value for name, value in metrics.items() if name.startswith("loss_")]
        loss = jnp.sum(jnp.stack(parts))
        return loss, {"loss": loss, **metrics}

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
    metrics = {"loss_main": losses.cross_entropy(logits, codes, weights, config.smoothing)}
    if config.balance:
        metrics["loss_balance"] = config.balance * losses.imbalance(logits, codes)
    if hasattr(heads, "draft"):
        first = codes[..., :coarse]
        draft = heads.draft(batch.early, batch.state)
        metrics["loss_draft"] = losses.cross_entropy(
            draft, first, weights[:coarse], config.smoothing
        )
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
        codes = losses.perturb(perturb_key, codes, num_levels, config.perturbation)
    own = jnp.argmax(logits, axis=-1)
    return losses.replace_steps(replace_key, codes, own, config.own_codes * progress)


def _bin_loss(
    config: HeadsLoss, heads: Heads, batch: Batch, key: Array, progress: Array
) -> Metrics:
    logits = heads.main(batch.final, batch.state)
    weights = jnp.ones(logits.shape[-2])
    loss = losses.cross_entropy(logits, batch.targets, weights, config.smoothing)
    return {"loss_main": loss, "accuracy": _accuracy(logits, batch.targets)}


def _regression_loss(
    config: HeadsLoss, heads: Heads, batch: Batch, key: Array, progress: Array
) -> Metrics:
    actions = heads.main(batch.final, batch.state)
    return {"loss_main": jnp.mean(jnp.abs(actions - batch.actions))}


def _accuracy(logits: Float[Array, "*n k"], codes: Int[Array, "*n"]) -> Float[Array, ""]:
    return jnp.mean(jnp.argmax(logits, axis=-1) == codes)


def _drop_tokens(key: Array, features: Array | None, depth: Depth, share: float) -> Array | None:
    if features is None or not share:
        return features
    kept = jax.random.bernoulli(key, 1.0 - share, features.shape[:2])
    kept = kept.at[:, depth.image_tokens :].set(True)
    return jnp.where(kept[..., None], features, 0)


def _of_averages(evaluate: Callable[[model.Params], dict[str, float]]) -> Evaluate:
    return lambda state: evaluate(state.model)
