"""Puts finished runs of train.heads side by side: token accuracy by layer, action errors.

python -m eval.heads --runs runs/heads/small runs/heads/small_naive runs/heads/small_blind
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rfsq_jax.policies.files import load_policy
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.commands import STARTS_AGAIN, command, user_errors
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.results import read_results, write_results
from rfsq_jax.training.heads import report
from rfsq_jax.training.heads.evaluation import measure_policy

COMMAND = "eval.heads"
PICTURE = "heads.png"


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadsComparison:
    """Options of eval.heads.

    Attributes:
      runs: folders that train.heads wrote, on the same features.
      held_out: folder of train.features whose held-out frames are predicted, such as every frame of
        the same episodes; by default what the runs measured themselves.
      output: where the table's figures and the picture go.
    """

    runs: tuple[Path, ...] = (Path("runs/heads/small"), Path("runs/heads/small_naive"))
    held_out: Path | None = None
    output: Path = Path("runs/heads/comparison")

    def __post_init__(self) -> None:
        require_types(self)
        require(len(self.runs) > 0, "runs", "at least one folder", self.runs)


def read_runs(config: HeadsComparison) -> dict[str, dict[str, Any]]:
    """Figures by the runs' names.

    Raises:
      FileNotFoundError: if a run is missing or unfinished.
      ValueError: if the runs did not read the same features, or were trained on what is held out
        now.
    """
    found: dict[str, dict[str, Any]] = {}
    features: set[str] = set()
    for folder in config.runs:
        path = folder / "results.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; finish that run with train.heads")
        results = read_results(path)
        found[folder.name] = results["figures"]
        if "features" not in results["config"]:
            raise ValueError(f"{path} must be of a run of train.heads, got another command's")
        features.add(results["config"]["features"]["output"])
    require(len(features) == 1, "runs", "of one folder of features", sorted(features))
    if config.held_out is None:
        return found
    trained_on = Path(features.pop())
    return {
        folder.name: measure_policy(load_policy(folder / "policy"), trained_on, config.held_out)
        for folder in config.runs
    }


@command(COMMAND, STARTS_AGAIN)
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command."""
    config = parse(HeadsComparison, argv, command=COMMAND, description=__doc__)
    with user_errors(COMMAND):
        named = read_runs(config)
    print(report.accuracy_table(named))
    print(report.action_table(named))
    for name, figures in named.items():
        if isinstance(figures.get("accuracy", {}).get("main"), list):
            print(f"{name}\n{report.reference_note(figures)}")
    report.plot_comparison(config.output / PICTURE, named)
    print(f"picture: {config.output / PICTURE}")
    print(f"figures: {write_results(config.output, figures=named, config=config)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
