"""Trains the network that ordered tokenizers share, on demonstrations and synthetic motion.

python -m train.shared --horizon 8 --output runs/shared/8
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from rfsq_jax.runs.checks import require_choice
from rfsq_jax.runs.claims import claim_folder, hold_folder
from rfsq_jax.runs.commands import command, opened, user_errors
from rfsq_jax.runs.options import parse_training
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.results import write_results
from rfsq_jax.tokenizers.ordered.shared_config import HORIZONS, SharedConfig
from rfsq_jax.tokenizers.ordered.shared_files import save_folder
from rfsq_jax.training.loop import recorded
from rfsq_jax.training.ordered import shared_training as trainer
from rfsq_jax.training.ordered.shared_sets import load_robots
from rfsq_jax.training.ordered.shared_training import SharedTrainingConfig

COMMAND = "train.shared"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedRun:
    """One run of train.shared.

    Attributes:
      horizon: steps of a chunk: 8, 16, 32 or 64.
      training: how; its model is that of the horizon.
      output: the run's folder; the network is in `shared`, and the same command resumes.
    """

    horizon: int = 8
    training: SharedTrainingConfig = SharedTrainingConfig()
    output: Path = Path("runs/shared")

    def __post_init__(self) -> None:
        require_types(self)
        require_choice(str(self.horizon), [str(each) for each in HORIZONS], "horizon")


@command(COMMAND)
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command."""
    config, machines = parse_training(SharedRun, argv, command=COMMAND, description=__doc__)
    model = SharedConfig.of(config.horizon)
    training = dataclasses.replace(config.training, model=model)
    with machines.joined(COMMAND) as mesh, opened(COMMAND, hold_folder(config.output)):
        with user_errors(COMMAND):
            robots = load_robots(training.suites)
            claim_folder(config.output, dataclasses.asdict(config))
        with recorded(config.output, trainer.BEST_METRIC) as (checkpoints, writer):
            params = trainer.train(
                training, robots, mesh=mesh, checkpoints=checkpoints, writer=writer
            )
            best = checkpoints.best_step
            figures = {} if best is None else checkpoints.figures(best)
        save_folder(config.output / "shared", model, params)
        print(f"figures: {write_results(config.output, figures=figures, config=config)}")
        print(f"network: {config.output / 'shared'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
