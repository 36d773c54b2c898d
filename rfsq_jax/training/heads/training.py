"""Trains a policy's heads on frozen features."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array

from rfsq_jax.heads import network
from rfsq_jax.heads.config import HeadsConfig
from rfsq_jax.heads.network import HeadsShape
from rfsq_jax.heads.proprio import ProprioStatistics
from rfsq_jax.parallel import sharding
from rfsq_jax.runs.checks import require, require_positive
from rfsq_jax.training.checkpoints import Checkpoints
from rfsq_jax.training.feeding import Feed
from rfsq_jax.training.heads.objective import Batch, HeadsLoss, make_objective
from rfsq_jax.training.loop import Evaluate, LoopConfig, Metrics, Update, train_on_mesh
from rfsq_jax.training.metrics import MetricWriter
from rfsq_jax.training.optimizer import OptimizerConfig
from rfsq_jax.training.state import TrainState

BEST_METRIC = "held_out_error"
EMA_WARMUP = 10.0


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


def train(
    config: HeadsTraining,
    shape: HeadsShape,
    statistics: ProprioStatistics,
    feed: Feed,
    evaluate: Callable[[network.Params], dict[str, float]],
    *,
    mesh: Mesh | None = None,
    description: str = "heads",
    checkpoints: Checkpoints | None = None,
    writer: MetricWriter | None = None,
) -> network.Params:
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
    if config.model.kind == "tokens":
        layers, weights = shape.codes.num_layers, config.loss.layer_weights
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
    return jax.device_get(final.ema_params)


def initial_state(config: HeadsTraining, shape: HeadsShape) -> TrainState:
    """Fresh parameters, and their averages, which begin as the same."""
    params = network.init(config.model, shape, jax.random.key(config.loop.seed))
    optimizer = config.optimizer.build(config.loop.steps)
    return TrainState.create(params, optimizer, ema_params=jax.tree.map(jnp.copy, params))


def make_update(config: HeadsTraining, shape: HeadsShape, statistics: ProprioStatistics) -> Update:
    """Returns one optimiser step on a batch."""
    optimizer = config.optimizer.build(config.loop.steps)
    objective = make_objective(config.model, config.loss, shape, statistics)
    gradient = jax.value_and_grad(objective, has_aux=True)

    def update(state: TrainState, batch: Batch, key: Array) -> tuple[TrainState, Metrics]:
        progress = state.step / config.loop.steps
        (_, metrics), gradients = gradient(state.params, batch, key, progress)
        moved = state.updated(gradients, optimizer)
        return dataclasses.replace(moved, ema_params=moving_average(config.ema, moved)), metrics

    return update


def moving_average(decay: float, state: TrainState) -> Any:
    """Averages that forget their random beginning: the decay rises with the steps taken."""
    kept = jnp.minimum(decay, (1.0 + state.step) / (EMA_WARMUP + state.step))
    return jax.tree.map(lambda a, p: kept * a + (1 - kept) * p, state.ema_params, state.params)


def _of_averages(evaluate: Callable[[network.Params], dict[str, float]]) -> Evaluate:
    return lambda state: evaluate(state.ema_params)
