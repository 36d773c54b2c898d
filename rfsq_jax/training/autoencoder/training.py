"""How the action autoencoder is trained.

Axes: M chunks of the training set · B batch · T action steps · A action dims.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, UInt

from rfsq_jax import rfsq
from rfsq_jax.data.action_spec import ActionSpec
from rfsq_jax.parallel import sharding
from rfsq_jax.rfsq import RFSQState
from rfsq_jax.runs.checks import require, require_positive
from rfsq_jax.runs.records import require_types
from rfsq_jax.tokenizers import autoencoder
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig, Params
from rfsq_jax.training.loop import LoopConfig, Metrics, RunOptions, Update, train_on_mesh
from rfsq_jax.training.row_means import row_means
from rfsq_jax.training.state import OptimizerConfig, TrainState

BEST_METRIC = "held_out_mse"
# The balance term is a mean; a quarter of the steps gives its gradient at a quarter of its cost.
BALANCED_STRIDE = 4
EVALUATED = 4096
"""Held-out chunks at once."""
RULES: sharding.Rules = ((r"(encoder|decoder)_(in|out)/(kernel|bias)|log_scale", PartitionSpec()),)
"""Every device has all parameters, which are few."""


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """What is minimised: squared error by kind of dim, equal use of levels, and good prefixes.

    Attributes:
      translation: weight of the translation dims' squared error.
      rotation: weight of the rotation dims.
      gripper: weight of the grippers.
      joint: weight of the joints.
      other: weight of dims of unknown meaning.
      balance: weight of `rfsq.balance`, which pulls the first layer's levels toward equal use.
      prefix_share: share of the chunks that are decoded from a random number of layers.
    """

    translation: float = 1.0
    rotation: float = 1.0
    gripper: float = 1.0
    joint: float = 1.0
    other: float = 1.0
    balance: float = 1e-4
    prefix_share: float = 0.005

    def __post_init__(self) -> None:
        require_types(self)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            require(value >= 0, field.name, "0 or more", value)
        require(self.prefix_share <= 1, "prefix_share", "at most 1", self.prefix_share)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """One training run of an autoencoder."""

    model: AutoencoderConfig = AutoencoderConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    loop: LoopConfig = LoopConfig()
    batch_size: int = 64

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(self, "batch_size")


def train(
    config: TrainingConfig,
    chunks: Float[np.ndarray, "m t a"],
    held_out: Float[np.ndarray, "h t a"],
    *,
    spec: ActionSpec | None = None,
    **run: Unpack[RunOptions],
) -> tuple[Params, RFSQState]:
    """Trains on normalised chunks and returns parameters and frozen quantiser constants.

    Args:
      config: how.
      chunks: what is trained on.
      held_out: what the best checkpoint is chosen by.
      spec: what the dims mean; by default `ActionSpec.default`.
      run: see `RunOptions`.

    Raises:
      ValueError: if the chunks do not fit the model.
      FloatingPointError: if the loss becomes NaN or inf.
    """
    _check_chunks("chunks", chunks, config)
    _check_chunks("held_out", held_out, config)
    run["mesh"] = mesh = run.get("mesh") or sharding.make_mesh()
    run.setdefault("description", "autoencoder")
    spec = ActionSpec.default(config.model.action_dim) if spec is None else spec

    def errors(state: TrainState, batch: Array) -> dict[str, Float[Array, " b"]]:
        restored = autoencoder.forward(config.model, state.params, state.model_state, batch)
        return {BEST_METRIC: jnp.mean(jnp.square(restored - batch), axis=(1, 2))}

    means = row_means(errors, mesh, EVALUATED)

    def evaluate(state: TrainState) -> dict[str, float]:
        return means(state, lambda rows: held_out[rows], len(held_out))

    final = train_on_mesh(
        make_update(config, spec, mesh),
        initial_state(config, chunks),
        chunks,
        config=config.loop,
        rules=RULES,
        evaluate=evaluate,
        **run,
    )
    params, state = sharding.fetch((final.params, final.model_state))
    return params, freeze(config.model, params, state, chunks)


def initial_state(config: TrainingConfig, chunks: Float[np.ndarray, "m t a"]) -> TrainState:
    """Fresh parameters; a robust quantiser starts calibrated to the untrained encoder."""
    params, state = autoencoder.init(config.model, jax.random.key(config.loop.seed))
    state = freeze(config.model, params, state, chunks)
    optimizer = config.optimizer.build(config.loop.steps)
    return TrainState.create(params, optimizer, model_state=state)


def freeze(
    config: AutoencoderConfig, params: Params, state: RFSQState, chunks: Float[np.ndarray, "m t a"]
) -> RFSQState:
    """Returns the constants for the checkpoint: calibrated on the chunks where that applies."""
    if config.rfsq.conditioning == "layernorm" and config.rfsq.statistics == "frozen":
        return rfsq.calibrate(config.rfsq, autoencoder.latents(config, params, chunks))
    return state


def make_update(config: TrainingConfig, spec: ActionSpec, mesh: Mesh) -> Update:
    """Returns one optimiser step on a random batch of the chunks."""
    optimizer = config.optimizer.build(config.loop.steps)
    gradient = jax.value_and_grad(_loss_function(config, spec), has_aux=True)
    placed = sharding.batch_sharding(mesh)
    sharding.require_divisible(config.batch_size, mesh)

    def update(state: TrainState, chunks: Array, key: Array) -> tuple[TrainState, Metrics]:
        # One draw for everything: on a CPU each call of the generator costs as much as a layer.
        bits = jax.random.bits(key, (3, config.batch_size))
        rows = (bits[0] % len(chunks)).astype(jnp.int32)
        batch = jax.lax.with_sharding_constraint(chunks[rows], placed)
        keep = _random_prefixes(config, bits[1:], batch.shape)
        (_, (metrics, moved)), gradients = gradient(state.params, state.model_state, batch, keep)
        return state.updated(gradients, optimizer, model_state=moved), metrics

    return update


def _loss_function(
    config: TrainingConfig, spec: ActionSpec
) -> Callable[..., tuple[Array, tuple[Metrics, RFSQState]]]:
    weights = config.loss

    def loss(
        params: Params, state: RFSQState, batch: Array, keep: Array | None
    ) -> tuple[Array, tuple[Metrics, RFSQState]]:
        result = autoencoder.reconstruct(config.model, params, state, batch, keep)
        squared = jnp.square(result.actions - batch)
        errors = {kind: squared[..., spec.dims(kind)] for kind in spec.kinds}
        weighted = [getattr(weights, name) * jnp.sum(error) for name, error in errors.items()]
        value = jnp.sum(jnp.stack(weighted)) / squared.size
        metrics = {f"loss_{name}": jnp.mean(error) for name, error in errors.items()}
        if weights.balance:
            constants = autoencoder.constants(config.model, params, state)
            some = result.latents[:, ::BALANCED_STRIDE]
            metrics["balance"] = rfsq.balance(config.model.rfsq, constants, some)
            value = value + weights.balance * metrics["balance"]
        return value, ({"loss": value, **metrics}, result.state)

    return loss


def _random_prefixes(
    config: TrainingConfig, bits: UInt[Array, "2 b"], shape: tuple[int, ...]
) -> Int[Array, "b t"] | None:
    """How many layers to keep: all, or for a share of the chunks 1..L."""
    if not config.loss.prefix_share:
        return None
    layers = config.model.rfsq.num_layers
    chosen = bits[0] < np.uint32(config.loss.prefix_share * np.iinfo(np.uint32).max)
    depth = jnp.where(chosen, 1 + (bits[1] % layers).astype(jnp.int32), layers)
    return jnp.broadcast_to(depth[:, None], shape[:2])


def _check_chunks(field: str, chunks: np.ndarray, config: TrainingConfig) -> None:
    width = config.model.action_dim
    if chunks.ndim != 3 or chunks.shape[-1] != width or not len(chunks):
        raise ValueError(f"{field} must have shape [M, T, {width}] with M > 0, got {chunks.shape}")
    if not np.isfinite(chunks).all():
        raise ValueError(f"{field} must be finite, got NaN or inf")
