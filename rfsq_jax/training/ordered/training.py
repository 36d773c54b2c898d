"""How the dense path of ordered tokens is trained, for an `objective`.

Axes: N chunks of the training set · B batch · D coefficients · C context.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Unpack

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float

from rfsq_jax import rfsq
from rfsq_jax.parallel import sharding
from rfsq_jax.rfsq import ConditionalState, RFSQConfig, conditional
from rfsq_jax.runs.checks import require, require_positive
from rfsq_jax.runs.records import require_types
from rfsq_jax.training.loop import LoopConfig, Metrics, RunOptions, Update, train_on_mesh
from rfsq_jax.training.ordered import objective as terms
from rfsq_jax.training.ordered.objective import Objective
from rfsq_jax.training.state import OptimizerConfig, TrainState

BEST_METRIC = "held_out_loss"
RULES: sharding.Rules = ((r"(mean|directions|log_step|[wb]_(in|memory|out))", PartitionSpec()),)
"""Every device has all parameters, 6 MB of them."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """What is trained on: coefficients [N, D] and what the networks are told besides, [N, C]."""

    z: Float[np.ndarray, "n d"]
    context: Float[np.ndarray, "n c"]


@dataclasses.dataclass(frozen=True)
class OrderedTrainingConfig:
    """One training run of a dense path.

    Attributes:
      hidden_dim: width of the networks.
      num_levels: levels K of a code.
      num_directions: codes G of a layer; a token has K ** G values, at most 4,096.
      objective: what for.
      optimizer: its learning rates.
      loop: how long.
      batch_size: chunks of a step.
    """

    hidden_dim: int = 128
    num_levels: int = 7
    num_directions: int = 4
    objective: Objective = Objective()
    optimizer: OptimizerConfig = OptimizerConfig(
        warmup_steps=100, final_fraction=0.01, weight_decay=0.0, second_decay=0.99, clip_norm=10.0
    )
    loop: LoopConfig = LoopConfig(steps=6_000, steps_per_call=100, evaluate_every=500, patience=4)
    batch_size: int = 256

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(self, "batch_size")
        values = self.num_levels**self.num_directions
        require(values <= 4096, "num_levels ** num_directions", "at most 4096", values)

    def quantizer(self, rows: Rows, num_tokens: int) -> RFSQConfig:
        """The conditional layers of this run."""
        return RFSQConfig(
            dim=rows.z.shape[1],
            num_layers=num_tokens,
            num_levels=self.num_levels,
            conditioning="conditional",
            num_directions=min(self.num_directions, rows.z.shape[1]),
            hidden_dim=self.hidden_dim,
            context_dim=rows.context.shape[1],
        )


def train(
    config: OrderedTrainingConfig,
    quantizer: RFSQConfig,
    rows: Rows,
    held_out: Rows,
    **run: Unpack[RunOptions],
) -> ConditionalState:
    """Trains conditional layers, which start from the rows' statistics.

    Args:
      config: how.
      quantizer: the layers.
      rows: what is trained on.
      held_out: what tells when to stop, and which state was best.
      run: see `RunOptions`.

    Raises:
      FloatingPointError: if the loss becomes NaN or inf.
    """
    run["mesh"] = mesh = run.get("mesh") or sharding.make_mesh()
    run.setdefault("description", "ordered")
    # On the host, for what is on one device cannot meet what is on those of several hosts.
    start = jax.device_get(rfsq.calibrate(quantizer, rows.z, config.loop.seed))
    measured = sharding.place((held_out.z, held_out.context), mesh, sharding.REPLICATED)

    def evaluate(state: TrainState) -> dict[str, float]:
        found, seed = start._replace(networks=state.params), np.int32(config.loop.seed)
        total = _held_out_loss(config.objective, quantizer, found, *measured, seed)
        return {BEST_METRIC: float(total)}

    state = train_on_mesh(
        make_update(config, quantizer, start, mesh),
        initial_state(config, start),
        (rows.z, rows.context),
        config=config.loop,
        rules=RULES,
        evaluate=evaluate,
        best=BEST_METRIC,
        **run,
    )
    return start._replace(networks=sharding.fetch(state.params))


def initial_state(config: OrderedTrainingConfig, start: ConditionalState) -> TrainState:
    """The networks that begin with the rows' statistics."""
    return TrainState.create(start.networks, config.optimizer.build(config.loop.steps))


def make_update(
    config: OrderedTrainingConfig, quantizer: RFSQConfig, start: ConditionalState, mesh: Mesh
) -> Update:
    """Returns one optimiser step on a random batch."""
    optimizer = config.optimizer.build(config.loop.steps)
    placed = sharding.batch_sharding(mesh)
    sharding.require_divisible(config.batch_size, mesh)

    def loss(
        networks: conditional.Networks, z: Array, context: Array, key: jax.Array
    ) -> tuple[Float[Array, ""], Metrics]:
        state = start._replace(networks=networks)
        return terms.loss(config.objective, quantizer, state, z, context, key)

    def update(
        state: TrainState, data: tuple[Array, Array], key: Array
    ) -> tuple[TrainState, Metrics]:
        rows = jax.random.randint(key, (config.batch_size,), 0, len(data[0]))
        z, context = (jax.lax.with_sharding_constraint(each[rows], placed) for each in data)
        gradient = jax.value_and_grad(loss, has_aux=True)
        (_, metrics), gradients = gradient(state.params, z, context, key)
        return state.updated(gradients, optimizer), metrics

    return update


@partial(jax.jit, static_argnums=(0, 1))
def _held_out_loss(
    objective: Objective,
    quantizer: RFSQConfig,
    state: ConditionalState,
    z: Array,
    context: Array,
    seed: Array,
) -> Float[Array, ""]:
    return terms.loss(objective, quantizer, state, z, context, jax.random.key(seed))[0]
