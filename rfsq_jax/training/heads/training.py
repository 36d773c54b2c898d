"""Trains a policy's heads on frozen features; the files in configs/ build a `PolicyRun`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rfsq_jax.features.config import FeaturesRun, without_defaults
from rfsq_jax.heads import network
from rfsq_jax.heads.config import HeadsConfig
from rfsq_jax.heads.network import HeadsShape
from rfsq_jax.heads.proprio import ProprioStatistics
from rfsq_jax.runs.checks import require, require_positive
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.trees import Params
from rfsq_jax.training.feeding import Feed
from rfsq_jax.training.heads.objective import Batch, HeadsLoss, make_objective
from rfsq_jax.training.loop import LoopConfig, Metrics, RunOptions, Update, train_on_mesh
from rfsq_jax.training.state import OptimizerConfig, TrainState

BEST_METRIC = "held_out_error"
EMA_WARMUP = 10.0

Objective = Callable[[Params, Batch, Array, Array], tuple[Array, Metrics]]
"""(parameters, batch, key, share of the run done) -> loss, metrics."""


@dataclasses.dataclass(frozen=True)
class AveragedTraining:
    """What the trainings of heads have in common.

    Attributes:
      optimizer: AdamW.
      loop: how long.
      batch_size: chunks per step, over all devices.
      ema: decay of the averaged parameters that are evaluated and kept.
    """

    optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=3e-3, final_fraction=1e-2, weight_decay=0.05, clip_norm=1.0
    )
    loop: LoopConfig = LoopConfig(steps=2_000, steps_per_call=10, evaluate_every=500)
    batch_size: int = 64
    ema: float = 0.998

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(self, "batch_size")
        require(0 <= self.ema < 1, "ema", "in [0, 1)", self.ema)


@dataclasses.dataclass(frozen=True)
class HeadsTraining(AveragedTraining):
    """One training run of a policy's heads.

    Attributes:
      model: the heads.
      loss: what is minimised.
    """

    model: HeadsConfig = HeadsConfig()
    loss: HeadsLoss = HeadsLoss()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolicyRun:
    """One run of train.features and train.heads.

    Attributes:
      features: which frozen features, and where they are.
      training: heads, loss, optimiser and length.
      tokenizer: a bundled name, or a folder that train.ae wrote; what the heads predict.
      output: the heads' folder; the same command resumes what is there.
    """

    features: FeaturesRun = FeaturesRun()
    training: HeadsTraining = HeadsTraining()
    tokenizer: str = "libero"
    output: Path = Path("runs/heads/small")

    def __post_init__(self) -> None:
        require_types(self)

    def identity(self) -> dict[str, Any]:
        """The options that decide what is in the heads' folder."""
        options = dataclasses.asdict(self)
        return {**options, "features": without_defaults(options["features"])}


def train(
    config: HeadsTraining,
    shape: HeadsShape,
    statistics: ProprioStatistics,
    feed: Feed,
    evaluate: Callable[[Params], dict[str, float]],
    **run: Unpack[RunOptions],
) -> Params:
    """Trains or resumes, and returns the averaged parameters of the best evaluation.

    Args:
      config: how.
      shape: sizes of features and codes.
      statistics: of the training frames' states.
      feed: gives `Batch`es.
      evaluate: figures of averaged parameters, `BEST_METRIC` among them.
      run: without checkpoints the last parameters are returned.

    Raises:
      FloatingPointError: if the loss becomes NaN or inf.
      ValueError: if there is not one weight per layer.
    """
    if config.model.kind == "tokens":
        layers, weights = shape.codes.num_layers, config.loss.layer_weights
        require(len(weights) == layers, "layer_weights", f"{layers}, one per layer", weights)
    params = network.init(config.model, shape, jax.random.key(config.loop.seed))
    objective = make_objective(config.model, config.loss, shape, statistics)
    run.setdefault("description", "heads")
    return train_averaged(config, params, objective, feed, evaluate, **run)


def train_averaged(
    config: AveragedTraining,
    params: Params,
    objective: Objective,
    feed: Feed,
    evaluate: Callable[[Params], dict[str, float]],
    **run: Unpack[RunOptions],
) -> Params:
    """Moves parameters to lower an objective; returns the averages of the best evaluation.

    Args:
      config: how.
      params: where to begin; they stay as they are.
      objective: what is minimised; traceable.
      feed: gives `Batch`es.
      evaluate: figures of averaged parameters, the checkpoints' metric among them.
      run: without checkpoints the last averages are returned.

    Raises:
      FloatingPointError: if the loss becomes NaN or inf.
    """
    final = train_on_mesh(
        make_update(config, objective),
        initial_state(config, params),
        feed,
        config=config.loop,
        evaluate=lambda state: evaluate(state.ema_params),
        **run,
    )
    checkpoints = run.get("checkpoints")
    if checkpoints is not None and checkpoints.best_step is not None:
        final = checkpoints.restore(checkpoints.best_step, final)
    return jax.device_get(final.ema_params)


def initial_state(config: AveragedTraining, params: Params) -> TrainState:
    """Copies of the parameters, for steps donate them, and their averages, which begin alike."""
    params, averages = (jax.tree.map(jnp.copy, params) for _ in range(2))
    optimizer = config.optimizer.build(config.loop.steps)
    return TrainState.create(params, optimizer, ema_params=averages)


def make_update(config: AveragedTraining, objective: Objective) -> Update:
    """Returns one optimiser step on a batch, which moves the averages along."""
    optimizer = config.optimizer.build(config.loop.steps)
    gradient = jax.value_and_grad(objective, has_aux=True)

    def update(state: TrainState, batch: Batch, key: Array) -> tuple[TrainState, Metrics]:
        progress = state.step / config.loop.steps
        (_, metrics), gradients = gradient(state.params, batch, key, progress)
        moved = state.updated(gradients, optimizer)
        return dataclasses.replace(moved, ema_params=_moving_average(config.ema, moved)), metrics

    return update


def _moving_average(decay: float, state: TrainState) -> Any:
    """Averages that forget their random beginning: the decay rises with the steps taken."""
    kept = jnp.minimum(decay, (1.0 + state.step) / (EMA_WARMUP + state.step))
    return jax.tree.map(lambda a, p: kept * a + (1 - kept) * p, state.ema_params, state.params)
