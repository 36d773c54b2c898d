"""How well frozen features show where things are, and what they cost.

Axes: B batch · N, M scenes · C cameras · H, W image · S feature tokens · E their width.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from eval.benchmarks.timing import fastest, flops_of
from rfsq_jax.backbones.protocol import FINAL, Depth
from rfsq_jax.backbones.small import SmallBackbone, SmallConfig
from rfsq_jax.backbones.small.backbone import embed_words
from rfsq_jax.data.observations import Observations
from rfsq_jax.heads.config import TrunkConfig
from rfsq_jax.heads.trunk import Trunk
from rfsq_jax.libero.environment import POLICY_CAMERAS, Environment
from rfsq_jax.libero.placements import random_start
from rfsq_jax.libero.tasks import available_suites, get_task, tasks
from rfsq_jax.runs.checks import require, require_positive, require_seed
from rfsq_jax.runs.files import atomic_path
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.terminal import progress_bar

SCENES = "scenes.npz"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Options of eval.backbones.

    Attributes:
      suites: where the tasks come from.
      tasks: indices of the tasks of each suite.
      placements: random placements per task.
      placement_margin: metres by which placement regions grow on all sides.
      held_out: share of the placements that is only measured on.
      steps: training steps of a probe.
      seed: of placements and training.
      output: the run's folder; scenes that were rendered already are kept there.
    """

    suites: tuple[str, ...] = ("libero_spatial", "libero_object")
    tasks: tuple[int, ...] = (0, 4, 8)
    placements: int = 150
    placement_margin: float = 0.05
    held_out: float = 0.2
    steps: int = 1500
    seed: int = 0
    output: Path = Path("runs/backbones")

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(self, "placements", "steps")
        require_seed(self)
        require(0 < self.held_out < 1, "held_out", "in (0, 1)", self.held_out)
        margin = self.placement_margin
        require(margin >= 0, "placement_margin", "at least 0 m", margin)


@dataclasses.dataclass(frozen=True, eq=False)
class Scenes:
    """Random placements, as a policy sees them.

    Attributes:
      images: uint8 [N, C, H, W, 3].
      state: float32 [N, 8].
      goal: float32 [N, 2], where the goal object is, metres.
      instructions: N sentences.
    """

    images: np.ndarray
    state: np.ndarray
    goal: np.ndarray
    instructions: list[str]


def render_scenes(config: ProbeConfig) -> Scenes:
    """Renders the scenes, or reads those that an earlier run rendered."""
    path = config.output / SCENES
    if not path.exists():
        chosen = [get_task(suite, index) for suite in config.suites for index in config.tasks]
        rows: list[dict[str, Any]] = []
        with progress_bar(len(chosen) * config.placements, "scenes", "scene") as bar:
            for task in chosen:
                with Environment(task, cameras=POLICY_CAMERAS) as env:
                    for number in range(config.placements):
                        rows.append(
                            _scene(env, config.seed * 10_000 + number, config.placement_margin)
                        )
                        bar.update(1)
        columns: dict[str, Any] = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **columns)
    with np.load(path) as stored:
        instructions = stored["instruction"].tolist()
        return Scenes(stored["images"], stored["state"], stored["goal"], instructions)


def measure(config: ProbeConfig, candidate: SmallConfig, scenes: Scenes) -> dict[str, float]:
    """Trains a probe on a candidate's grid; error in millimetres on unseen placements."""
    backbone = SmallBackbone(candidate)
    features = _features(backbone, scenes)
    held_out = np.arange(len(features)) % round(1 / config.held_out) == 0
    mean, std = scenes.goal[~held_out].mean(axis=0), scenes.goal[~held_out].std(axis=0)
    predict = fit_probe(
        config.seed,
        config.steps,
        backbone.spec.depths[FINAL],
        features[~held_out],
        (scenes.goal[~held_out] - mean) / std,
    )
    errors = predict(features[held_out]) * std + mean - scenes.goal[held_out]
    distances = 1000 * np.linalg.norm(errors, axis=-1)
    centre = 1000 * np.linalg.norm(scenes.goal[held_out] - mean, axis=-1)
    return {
        "median_mm": float(np.median(distances)),
        "rmse_mm": float(np.sqrt(np.mean(distances**2))),
        "rmse_of_the_mean_mm": float(np.sqrt(np.mean(centre**2))),
        **_cost(backbone, scenes),
    }


class PositionProbe(nnx.Module):
    """Where the named object is, from feature tokens."""

    def __init__(self, depth: Depth, *, rngs: nnx.Rngs) -> None:
        self.trunk = Trunk(TrunkConfig(width=64, num_heads=4), depth, 1, rngs=rngs)
        self.out = nnx.Linear(64, 2, rngs=rngs)

    def __call__(self, features: Float[Array, "b s e"]) -> Float[Array, "b 2"]:
        """Features -> standardised x, y."""
        return self.out(self.trunk(features, jnp.zeros((len(features), 8))))[:, 0]


def fit_probe(
    seed: int,
    steps: int,
    depth: Depth,
    features: Float[np.ndarray, "n s e"],
    goal: Float[np.ndarray, "n 2"],
) -> Callable[[Float[np.ndarray, "m s e"]], Float[np.ndarray, "m 2"]]:
    """Trains on standardised places of the named objects; returns features -> places."""
    graph, params = nnx.split(PositionProbe(depth, rngs=nnx.Rngs(seed)))
    schedule = optax.warmup_cosine_decay_schedule(0.0, 1e-3, steps // 10, steps)
    optimizer = optax.adamw(schedule, weight_decay=0.05)

    def loss(params: Any, features: Array, goal: Array) -> Array:
        return jnp.mean(jnp.square(nnx.merge(graph, params)(features) - goal))

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def run(params: Any, moments: Any, keys: Array) -> tuple[Any, Any]:
        def step(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], None]:
            params, moments = carry
            rows = jax.random.randint(key, (32,), 0, len(features))
            dropped = jax.random.bernoulli(key, 0.9, (32, features.shape[1], 1))
            batch = jnp.where(dropped, jnp.asarray(features)[rows], 0)
            gradients = jax.grad(loss)(params, batch, jnp.asarray(goal)[rows])
            updates, moments = optimizer.update(gradients, moments, params)
            return (optax.apply_updates(params, updates), moments), None

        return jax.lax.scan(step, (params, moments), keys)[0]

    keys = jax.random.split(jax.random.key(seed), steps)
    params, _ = run(params, optimizer.init(params), keys)
    predict = jax.jit(lambda features: nnx.merge(graph, params)(features))
    return lambda features: np.asarray(predict(features))


def instruction_distances() -> dict[str, float]:
    """How far apart the hashed instructions of all standard suites are (cosine of the nearest)."""
    suites = [suite for suite in available_suites() if suite.count("_") == 1]
    sentences = sorted({task.instruction for suite in suites for task in tasks(suite)})
    vectors = np.stack([embed_words(each, 112) for each in sentences])
    cosines = vectors @ vectors.T / vectors.shape[1]
    np.fill_diagonal(cosines, -1.0)
    return {"instructions": len(sentences), "largest_cosine": float(cosines.max())}


def _scene(env: Environment, seed: int, margin: float) -> dict[str, Any]:
    observation = env.reset(random_start(env, seed, placement_margin=margin))
    goal = env.goals[0][1]
    images = env.render()
    body = env.domain.obj_body_id[goal]
    return {
        "images": np.stack([images[name] for name in POLICY_CAMERAS]),
        "state": observation.state,
        "goal": env.data.xpos[body][:2].astype(np.float32),
        "instruction": np.array(env.task.instruction),
    }


def _features(backbone: SmallBackbone, scenes: Scenes, batch: int = 16) -> np.ndarray:
    parts = []
    for start in range(0, len(scenes.images), batch):
        rows = slice(start, start + batch)
        embedded = backbone.embed(
            scenes.images[rows], scenes.instructions[rows], scenes.state[rows]
        )
        parts.append(np.asarray(embedded, np.float16))
    return np.concatenate(parts)


def _cost(backbone: SmallBackbone, scenes: Scenes, batch: int = 16) -> dict[str, float]:
    seen = scenes.images[:batch], scenes.instructions[:batch], scenes.state[:batch]
    inputs = backbone.prepare(Observations(*seen))
    run = jax.jit(lambda params, inputs: backbone.late(params, backbone.early(params, inputs)[1]))
    images = len(inputs["images"]) * backbone.spec.cameras
    return {
        "images_per_second": images / fastest(lambda: run(backbone.params, inputs)),
        "mflops_per_image": flops_of(run, backbone.params, inputs) / images / 1e6,
    }
