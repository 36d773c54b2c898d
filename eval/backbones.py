"""Where should the small backbone be cut? Measures how well each grid shows where things are.

python -m eval.backbones

Goal objects are placed at random; a small attention probe, trained on the frozen features of a
candidate, says where the goal object is. Beside it: images per second and floating-point work.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from eval.benchmarks.timing import fastest, flops_of
from eval.studies.position_probe import fit_probe
from rfsq_jax.backbones.protocol import FINAL
from rfsq_jax.backbones.small import SmallBackbone, SmallConfig
from rfsq_jax.backbones.small.instructions import embed_words
from rfsq_jax.data.observations import Observations
from rfsq_jax.libero.environment import POLICY_CAMERAS, Environment
from rfsq_jax.libero.placements import random_start
from rfsq_jax.libero.tasks import available_suites, get_task, tasks
from rfsq_jax.runs.checks import require_positive
from rfsq_jax.runs.files import atomic_path
from rfsq_jax.runs.options import parse, user_errors
from rfsq_jax.runs.progress import progress_bar
from rfsq_jax.runs.results import claim_folder, write_results
from rfsq_jax.runs.tables import format_table

COMMAND = "eval.backbones"
SCENES = "scenes.npz"
CANDIDATES = tuple(
    SmallConfig(resolution=resolution, early_stage=stage - 1, final_stage=stage, grid=grid)
    for resolution, grid in ((128, 4), (224, 7), (256, 8))
    for stage in (3, 4, 5, 7)
)


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
        require_positive(self, "placements", "steps")


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


def instruction_distances() -> dict[str, float]:
    """How far apart the hashed instructions of all standard suites are (cosine of the nearest)."""
    suites = [suite for suite in available_suites() if suite.count("_") == 1]
    sentences = sorted({task.instruction for suite in suites for task in tasks(suite)})
    vectors = np.stack([embed_words(each, 112) for each in sentences])
    cosines = vectors @ vectors.T / vectors.shape[1]
    np.fill_diagonal(cosines, -1.0)
    return {"instructions": len(sentences), "largest_cosine": float(cosines.max())}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command."""
    config = parse(ProbeConfig, argv, command=COMMAND, description=__doc__)
    with user_errors(COMMAND):
        claim_folder(config.output, dataclasses.asdict(config))
        scenes = render_scenes(config)
    figures: dict[str, Any] = {"words": instruction_distances(), "grids": []}
    with progress_bar(len(CANDIDATES), "grids", "grid") as bar:
        for candidate in CANDIDATES:
            row = measure(config, candidate, scenes)
            figures["grids"].append({**dataclasses.asdict(candidate), **row})
            bar.update(1)
    print(_table(figures["grids"]))
    print(f"figures: {write_results(config.output, figures=figures, config=config)}")
    return 0


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


def _table(rows: list[dict[str, Any]]) -> str:
    columns = {
        "pixels": "{resolution}",
        "stage": "{final_stage}",
        "tokens": "{tokens}",
        "median mm": "{median_mm:.1f}",
        "RMSE mm": "{rmse_mm:.1f}",
        "of the mean": "{rmse_of_the_mean_mm:.1f}",
        "images/s": "{images_per_second:.0f}",
        "MFLOP": "{mflops_per_image:.0f}",
    }
    shown = [{**row, "tokens": 2 * row["grid"] ** 2} for row in rows]
    return format_table(
        list(columns), [[cell.format(**row) for cell in columns.values()] for row in shown]
    )


if __name__ == "__main__":
    sys.exit(main())
