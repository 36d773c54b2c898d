"""The training loop: many steps per dispatch, checkpoints, metrics, resume.

A step is a function of (state, data, key of the step), so a run that was killed and started again
takes the same steps as one that was not. The data is either whole on the device, or, where it is
too big for that, fed batch by batch (`rfsq_jax.training.feeding`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array

from rfsq_jax.parallel import sharding
from rfsq_jax.parallel.hosts import StoppedTogether
from rfsq_jax.runs.canonical import added
from rfsq_jax.runs.checks import require, require_positive, require_seed
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.terminal import progress_bar
from rfsq_jax.training.checkpoints import Checkpoints
from rfsq_jax.training.feeding import Feed, prefetch
from rfsq_jax.training.metrics import MetricWriter, Writers, open_writer
from rfsq_jax.training.state import TrainState
from rfsq_jax.training.stopping import StopSign, sigterm_asks

Metrics = dict[str, Array]
Update = Callable[[TrainState, Any, Array], tuple[TrainState, Metrics]]
Evaluate = Callable[[TrainState], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """How long to train and how often to look up.

    Attributes:
      steps: optimiser steps in all.
      steps_per_call: steps per dispatch to the device, one lax.scan.
      evaluate_every: steps between evaluations; each one saves a checkpoint.
      seed: root of all randomness of the run.
      patience: evaluations in a row without a better one after which training stops; None goes on
        to the end.
    """

    steps: int = 60_000
    steps_per_call: int = 500
    evaluate_every: int = 10_000
    seed: int = 0
    patience: int | None = added(None)

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(self, "steps", "steps_per_call", "evaluate_every")
        patient = self.patience is None or self.patience > 0
        require(patient, "patience", "at least 1, or None", self.patience)
        require_seed(self)
        if self.steps % self.steps_per_call or self.evaluate_every % self.steps_per_call:
            raise ValueError(
                "steps and evaluate_every must be multiples of steps_per_call, got "
                f"{self.steps} and {self.evaluate_every} with steps_per_call={self.steps_per_call}"
            )


class RunOptions(TypedDict, total=False):
    """What every training takes besides what it trains.

    Attributes:
      mesh: the devices; all by default.
      description: what the progress bar says.
      checkpoints: where to save and resume; nothing is saved without it.
      writer: where the curves go.
    """

    mesh: Mesh | None
    description: str
    checkpoints: Checkpoints | None
    writer: MetricWriter | None


def train_on_mesh(
    update: Update,
    state: TrainState,
    data: Any,
    *,
    config: LoopConfig,
    rules: sharding.Rules,
    evaluate: Evaluate,
    best: str | None = None,
    **run: Unpack[RunOptions],
) -> TrainState:
    """Runs `config.steps` steps, or those that are left since the latest checkpoint.

    Returns the last state, or with `best` the one with the lowest such figure.

    Args:
      update: one step, traceable.
      state: the state before the first step, the same on every process.
      data: arrays that every step may read, the same on every process; or a `Feed`, and then each
        step reads its own batch.
      config: how long.
      rules: where each parameter lives; a batch is split by `update` itself.
      evaluate: figures of a state; those of the checkpoints' metric choose the best.
      best: the figure that chooses what is returned, and that `config.patience` waits for.
      run: see `RunOptions`.

    Raises:
      FloatingPointError: as soon as a metric is NaN or inf; nothing of it is saved.
      StoppedTogether: after SIGTERM, if there are checkpoints; the last state is then saved.
    """
    mesh = run.get("mesh") or sharding.make_mesh()
    checkpoints, writer = run.get("checkpoints"), run.get("writer") or Writers(())
    state = sharding.place(state, mesh, rules, sharding.state_spec)
    fed = isinstance(data, Feed)
    if not fed:
        data = sharding.place(data, mesh, sharding.REPLICATED)
    if checkpoints is not None and checkpoints.latest_step is not None:
        state = checkpoints.restore(checkpoints.latest_step, state)
    start = int(state.step)
    lowest = _Lowest(config, best)
    if checkpoints is not None:
        lowest.recall(checkpoints, state)
    advance = steps_runner(update, config.steps_per_call, fed=fed)
    key = sharding.place(
        jax.random.key_data(jax.random.key(config.seed)), mesh, sharding.REPLICATED
    )
    pending: tuple[int, Metrics] | None = None
    asked: Array | None = None
    calls = range(start, config.steps, config.steps_per_call)
    reads = prefetch(data, calls, mesh) if fed else itertools.repeat(data)
    sign = StopSign(mesh)
    with (
        sigterm_asks(sign) if checkpoints is not None else contextlib.nullcontext(),
        progress_bar(config.steps, run.get("description", ""), "step", initial=start) as bar,
    ):
        for step, read in zip(calls, reads, strict=False):
            if lowest.is_over(step):
                break
            state, metrics = advance(state, read, key)
            if pending is not None:
                _write(writer, *pending)
            taken = step + config.steps_per_call
            pending = (taken, metrics)
            bar.update(config.steps_per_call)
            if taken % config.evaluate_every == 0 or taken == config.steps:
                bar.set_postfix_str(f"loss {_write(writer, *pending)['loss']:.2e}")
                pending = None
                figures = _write(writer, taken, evaluate(state))
                lowest.look_at(taken, state, figures)
                if checkpoints is not None:
                    checkpoints.save(taken, state, figures)
            # Of the call before, whose answer is there, so that the devices never wait.
            if checkpoints is not None and asked is not None and bool(asked):
                if pending is not None:
                    _write(writer, *pending)
                    checkpoints.save(taken, state, {})
                raise StoppedTogether
            asked = sign.ask_all()
    return state if lowest.state is None else lowest.state


class _Lowest:
    """The state with the lowest figure so far, if one chooses."""

    def __init__(self, config: LoopConfig, name: str | None) -> None:
        self.config, self.name = config, name
        self.value, self.step, self.state = math.inf, 0, None

    def recall(self, checkpoints: Checkpoints, like: TrainState) -> None:
        """Finds it again among the checkpoints of a run that is resumed."""
        step = None if self.name is None else checkpoints.best_step
        if step is not None and self.name is not None:
            self.value = checkpoints.figures(step)[self.name]
            self.step, self.state = step, checkpoints.restore(step, like)

    def look_at(self, step: int, state: TrainState, figures: Mapping[str, float]) -> None:
        """Keeps a copy of the state if it is better; the next step takes the state's memory."""
        if self.name is not None and figures[self.name] < self.value:
            self.value, self.step = figures[self.name], step
            self.state = jax.tree.map(jnp.copy, state)

    def is_over(self, step: int) -> bool:
        """Whether too many evaluations went by without a better one."""
        patience = self.config.patience
        if self.name is None or patience is None or self.state is None:
            return False
        return step - self.step >= patience * self.config.evaluate_every


@contextlib.contextmanager
def recorded(folder: Path, metric: str) -> Iterator[tuple[Checkpoints, MetricWriter]]:
    """The checkpoints and the curves of the run in a folder, both to go on from the latest step."""
    with (
        Checkpoints(folder / "checkpoints", metric) as checkpoints,
        open_writer(folder, checkpoints.latest_step or 0) as writer,
    ):
        yield checkpoints, writer


def steps_runner(
    update: Update, steps: int, *, fed: bool = False
) -> Callable[..., tuple[TrainState, Metrics]]:
    """Returns a jitted function that takes `steps` steps and gives the mean of their metrics.

    Where it is fed, its data has a leading axis of `steps`.
    """

    @functools.partial(jax.jit, donate_argnums=0)
    def run(state: TrainState, data: Any, key_data: Array) -> tuple[TrainState, Metrics]:
        key = jax.random.wrap_key_data(key_data)

        def one(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
            return update(state, batch if fed else data, jax.random.fold_in(key, state.step))

        state, metrics = jax.lax.scan(one, state, data if fed else None, length=steps)
        return state, jax.tree.map(jnp.mean, metrics)

    return run


def _write(writer: MetricWriter, step: int, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Fetches what is written; of a step one call later, so that the device never waits."""
    scalars = {name: float(value) for name, value in jax.device_get(metrics).items()}
    bad = [name for name, value in scalars.items() if not math.isfinite(value)]
    if bad:
        raise FloatingPointError(
            f"{', '.join(bad)} became NaN or inf in the steps up to {step}; "
            "the last good checkpoint is kept; lower the learning rate and run again"
        )
    writer.write(step, scalars)
    return scalars
