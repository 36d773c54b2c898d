"""kill -9 at random instants: commands and saves must leave the old or the new, and go on.

python -m tests.kills --kills 100 --seed 0 --output runs/kills
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rfsq_jax.runs.checks import require_known, require_positive
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.terminal import format_table, progress_bar
from tests.kills.campaign import Campaign, Report
from tests.kills.scenarios import SCENARIOS

COMMAND = "tests.kills"
NAMES = tuple(scenario.name for scenario in SCENARIOS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KillsConfig:
    """One campaign.

    Attributes:
      kills: how often each scenario is killed.
      seed: of the instants.
      only: scenarios; all by default.
      output: folder of results.json.
    """

    kills: int = 100
    seed: int = 0
    only: tuple[str, ...] = NAMES
    output: Path = Path("runs/kills")

    def __post_init__(self) -> None:
        require_positive(self, "kills")
        require_known(self.only, NAMES, "only")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the scenarios, prints the table, writes results.json; raises at a broken promise."""
    config = parse(KillsConfig, argv, command=COMMAND, description=__doc__)
    reports: dict[str, Report] = {}
    path = config.output
    for scenario in (each for each in SCENARIOS if each.name in config.only):
        with (
            tempfile.TemporaryDirectory() as folder,
            progress_bar(config.kills, scenario.name, "kill") as bar,
        ):
            campaign = Campaign(scenario, Path(folder), config.seed)
            reports[scenario.name] = campaign.run(config.kills, bar.update)
        figures = {name: dataclasses.asdict(report) for name, report in reports.items()}
        path = write_results(config.output, figures=figures, config=config)
    rows = [[n, str(r.kills), str(r.runs), f"{r.seconds:.1f}"] for n, r in reports.items()]
    print(format_table(["killed", "kills", "runs ended alike", "seconds undisturbed"], rows))
    print(f"figures: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
