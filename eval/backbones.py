"""Where should the small backbone be cut? Measures how well each grid shows where things are.

python -m eval.backbones

Goal objects are placed at random; a small attention probe, trained on the frozen features of a
candidate, says where the goal object is. Beside it: images per second and floating-point work.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from eval.studies.position_probe import (
    ProbeConfig,
    Scenes,
    instruction_distances,
    measure,
    render_scenes,
)
from rfsq_jax.backbones.small import SmallConfig
from rfsq_jax.runs.claims import claim_folder, hold_folder
from rfsq_jax.runs.commands import command, opened, user_errors
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.terminal import format_table, progress_bar

COMMAND = "eval.backbones"
CANDIDATES = tuple(
    SmallConfig(resolution=resolution, early_stage=stage - 1, final_stage=stage, grid=grid)
    for resolution, grid in ((128, 4), (224, 7), (256, 8))
    for stage in (3, 4, 5, 7)
)


@command(COMMAND)
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command."""
    config = parse(ProbeConfig, argv, command=COMMAND, description=__doc__)
    with opened(COMMAND, hold_folder(config.output)):
        with user_errors(COMMAND):
            claim_folder(config.output, dataclasses.asdict(config))
            scenes = render_scenes(config)
        figures = measure_all(config, scenes)
        print(_table(figures["grids"]))
        print(f"figures: {write_results(config.output, figures=figures, config=config)}")
    return 0


def measure_all(config: ProbeConfig, scenes: Scenes) -> dict[str, Any]:
    """How well every candidate shows where things are."""
    figures: dict[str, Any] = {"words": instruction_distances(), "grids": []}
    with progress_bar(len(CANDIDATES), "grids", "grid") as bar:
        for candidate in CANDIDATES:
            row = measure(config, candidate, scenes)
            figures["grids"].append({**dataclasses.asdict(candidate), **row})
            bar.update(1)
    return figures


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
