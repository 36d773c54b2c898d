"""How the shared path is trained: the likelihood of what is left, at every token.

An encoder runs over data sets of bundled and synthetic motion; at some of its tokens, the network
is asked for mean and deviation of every coefficient, and its levels for theirs. No gradient goes
from one token to the next.

Axes: N tokens · B chunks · A dims · T frequencies · G coefficients of a grid.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from rfsq_jax.data.episodes import Episode, split_episodes
from rfsq_jax.data.synthetic_motion import MotionShape
from rfsq_jax.parallel import sharding
from rfsq_jax.rfsq import exact
from rfsq_jax.rfsq.layers import AnyArray
from rfsq_jax.runs.checks import require, require_positive
from rfsq_jax.runs.records import require_types
from rfsq_jax.tokenizers.ordered import shared_moves as moves
from rfsq_jax.tokenizers.ordered import shared_network as network
from rfsq_jax.tokenizers.ordered import shared_search as search
from rfsq_jax.tokenizers.ordered.shared_config import SharedConfig
from rfsq_jax.tokenizers.ordered.shared_network import Belief, SharedParams, Start
from rfsq_jax.training.loop import LoopConfig, Metrics, RunOptions, Update, train_on_mesh
from rfsq_jax.training.ordered.shared_sets import batch, coefficients
from rfsq_jax.training.state import OptimizerConfig, TrainState

BEST_METRIC = "held_out_loss"
SUITES = ("libero_spatial", "libero_object")
"""LIBERO-Goal stays out, so that what is measured on it is measured on unseen motion."""
ESCAPE_PRICE = 7
"""Below an encoder's: with fewer escapes, coefficients that are far off would teach it doubt."""
MOST_DEVIATIONS = 300.0
"""A residual further off counts as this far: one coefficient must not own the gradient."""
SPREAD_WEIGHT = 3.0
RULES: sharding.Rules = (
    (r"(w_(in|own|others|out)|b_(in|block|out)|spread|inner|outer)", PartitionSpec()),
)
"""Every device has all parameters, half a megabyte of them."""


@dataclasses.dataclass(frozen=True)
class SharedTrainingConfig:
    """One training run of the shared path.

    Attributes:
      model: the quantiser and its network.
      optimizer: of its parameters.
      loop: how long.
      suites: whose bundled demonstrations to train on.
      stride: steps between the starts of their chunks.
      sets: data sets of each step.
      measured: chunks of each data set that its prior is measured on.
      trained: of these, chunks that are trained on.
      dims: dims of a data set, at most.
      tokens: of an encoding.
      tokens_trained: of these, drawn for each step, the ones that are trained on.
    """

    model: SharedConfig = SharedConfig.of(8)
    optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=3e-3, warmup_steps=100, final_fraction=0.01, clip_norm=1.0
    )
    loop: LoopConfig = LoopConfig(steps=3000, steps_per_call=100, evaluate_every=1000)
    suites: tuple[str, ...] = SUITES
    stride: int = 2
    sets: int = 8
    measured: int = 64
    trained: int = 16
    dims: int = 12
    tokens: int = 24
    tokens_trained: int = 8

    def __post_init__(self) -> None:
        require_types(self)
        require(len(self.suites) > 0, "suites", "at least one", self.suites)
        require_positive(self, "stride", "trained", "tokens_trained")
        require(self.trained <= self.measured, "trained", "at most measured", self.trained)
        few = self.tokens_trained <= self.tokens + 1
        require(few, "tokens_trained", "at most tokens + 1", self.tokens_trained)
        self.shape  # noqa: B018 (checks the rest)

    @property
    def shape(self) -> MotionShape:
        """Of the data sets of one step."""
        return MotionShape(self.sets, self.measured, self.model.horizon, self.dims)


Loss = Callable[[SharedParams, AnyArray, Array], tuple[Array, Metrics]]


def train(
    config: SharedTrainingConfig, robots: list[list[Episode]], **run: Unpack[RunOptions]
) -> SharedParams:
    """Trains on demonstrations and on synthetic motion; returns frozen parameters.

    Args:
      config: how.
      robots: episodes, each list normalised by itself.
      run: see `RunOptions`.

    Raises:
      FloatingPointError: if the loss becomes NaN or inf.
    """
    run["mesh"] = mesh = run.get("mesh") or sharding.make_mesh()
    run.setdefault("description", "shared path")
    parts = [split_episodes(episodes) for episodes in robots]
    seen, unseen = (
        np.concatenate([coefficients(part, config.model.horizon, config.stride) for part in group])
        for group in zip(*parts, strict=True)
    )
    loss = _loss_function(config)
    measure = jax.jit(lambda params, seed: loss(params, unseen, jax.random.key(seed))[0])

    def evaluate(state: TrainState) -> dict[str, float]:
        return {BEST_METRIC: float(measure(state.params, np.int32(config.loop.seed + 1)))}

    final = train_on_mesh(
        make_update(config, mesh),
        initial_state(config),
        seen,
        config=config.loop,
        rules=RULES,
        evaluate=evaluate,
        **run,
    )
    return network.frozen(sharding.fetch(final.params))


def initial_state(config: SharedTrainingConfig) -> TrainState:
    """Fresh parameters."""
    params = network.init(config.model, jax.random.key(config.loop.seed))
    return TrainState.create(params, config.optimizer.build(config.loop.steps))


def make_update(config: SharedTrainingConfig, mesh: Mesh) -> Update:
    """Returns one optimiser step on fresh data sets."""
    optimizer = config.optimizer.build(config.loop.steps)
    sharding.require_divisible(config.sets * config.trained, mesh)
    gradient = jax.value_and_grad(_loss_function(config, mesh), has_aux=True)

    def update(state: TrainState, bundled: Array, key: Array) -> tuple[TrainState, Metrics]:
        (_, metrics), gradients = gradient(state.params, bundled, key)
        return state.updated(gradients, optimizer), metrics

    return update


def _loss_function(config: SharedTrainingConfig, mesh: Mesh | None = None) -> Loss:
    model = config.model
    ids = moves.layout(model, model.horizon, config.dims)

    def loss(params: SharedParams, bundled: AnyArray, key: Array) -> tuple[Array, Metrics]:
        of_sets, of_tokens = jax.random.split(key)
        drawn = batch(config.shape, config.trained, bundled, of_sets)
        if mesh is not None:
            placed = sharding.batch_sharding(mesh)
            drawn = jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, placed), drawn)
        start = network.started(drawn.mean, drawn.deviation, drawn.present)
        z = jnp.where(drawn.present, network.as_values(drawn.z), 0.0)
        beliefs = _beliefs(config, jax.lax.stop_gradient(params), ids, start, z)
        index = jax.random.permutation(of_tokens, config.tokens + 1)[: config.tokens_trained]
        some = jax.tree.map(lambda stack: stack[index], beliefs)
        parts = jax.vmap(
            lambda belief, token: _losses(model, params, ids, start, z, belief, token)
        )(some, index)
        means = {name: jnp.mean(part) for name, part in parts.items()}
        total = means["likelihood"] + means["levels"] + SPREAD_WEIGHT * means["spread"]
        return total, {"loss": total, **means}

    return loss


def _beliefs(
    config: SharedTrainingConfig,
    params: SharedParams,
    ids: moves.Layout,
    start: Start,
    z: Float[Array, "b a t"],
) -> Belief:
    """What an encoder believes before each token, [N + 1, B, A, T], before the network sees it."""

    def one(belief: Belief, token: Array) -> tuple[Belief, Belief]:
        refined = network.refine(config.model, params, start, belief, token)
        choice = moves.choose(config.model, ids, refined, start.present)
        left = z - refined.mean
        best = search.best_token(config.model, params, ids, refined, choice, left, ESCAPE_PRICE)
        return moves.moved(config.model, params, ids, refined, choice, best), belief

    return jax.lax.scan(one, start.belief, jnp.arange(config.tokens + 1))[1]


def _losses(
    model: SharedConfig,
    params: SharedParams,
    ids: moves.Layout,
    start: Start,
    z: Float[Array, "b a t"],
    belief: Belief,
    token: Int[Array, ""],
) -> dict[str, Float[Array, " b"]]:
    """Negative log likelihoods per coefficient: of all, and of those that levels refine."""
    refined = network.refine(model, params, start, belief, token)
    residual = z - refined.mean
    count = jnp.maximum(jnp.sum(start.present, axis=(-2, -1)), 1)
    surprise = jnp.where(start.present, _surprise(residual, refined.steps), 0.0)
    refined, residual = jax.lax.stop_gradient((refined, residual))
    choice = moves.choose(model, ids, refined, start.present)
    left = jnp.sum(jnp.where(choice.chosen, residual, 0.0), axis=(-2, -1))
    offsets, after = _levels(model, params, choice, left)
    spread = choice.steps + params.spread[choice.shape, choice.radix]
    spread = jnp.exp2(spread / network.OCTAVE)
    error = left - offsets * spread
    is_refined = choice.radix > 0
    relative = jnp.square(error * jnp.exp2(-choice.steps / network.OCTAVE))
    of_levels = _surprise(jax.lax.stop_gradient(error), choice.steps + after)
    return {
        "likelihood": jnp.sum(surprise, axis=(-2, -1)) / count,
        "spread": jnp.sum(jnp.where(is_refined, jnp.log1p(relative), 0.0), axis=0) / count,
        "levels": jnp.sum(jnp.where(is_refined, of_levels, 0.0), axis=0) / count,
    }


def _levels(
    model: SharedConfig, params: SharedParams, choice: moves.Choice, left: Float[Array, "g b"]
) -> tuple[Float[Array, "g b"], Float[Array, "g b"]]:
    """The nearest levels, and what they change the log2 deviations by."""
    offsets = search.nearest(model, jax.lax.stop_gradient(params), choice, left)
    is_outer = moves.is_outermost(model, choice, offsets)
    return offsets, moves.steps_after(params, choice, is_outer)


def _surprise(residual: Float[Array, "*n"], steps: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """-log of a Gaussian density, up to a constant, of log2 deviations in eighths."""
    octaves = steps / network.OCTAVE
    off = exact.limited(residual * jnp.exp2(-octaves), MOST_DEVIATIONS)
    return 0.5 * jnp.square(off) + octaves * np.log(2.0)
