"""Damages files of every format and looks at what the loaders make of them.

python -m tests.fuzz --cases 10000 --seed 0 --workers 2 --output runs/fuzz
python -m tests.fuzz --only policy-tokens --case 17
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rfsq_jax.runs.checks import require, require_known, require_positive
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.terminal import progress_bar
from tests.fuzz.campaign import run_cases
from tests.fuzz.cases import Case, Result, spread
from tests.fuzz.formats import FORMATS
from tests.fuzz.table import count, describe, figures, text_table, write_docs

COMMAND = "tests.fuzz"
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FuzzConfig:
    """One campaign.

    Attributes:
      cases: how many files are damaged, spread evenly over the formats.
      seed: of all damage.
      workers: processes.
      output: folder of results.json.
      only: formats; all by default.
      case: number of the one case to run, of one format.
      write_docs: whether the table in docs/reliability.md is written anew.
    """

    cases: int = 10_000
    seed: int = 0
    workers: int = 2
    output: Path = Path("runs/fuzz")
    only: tuple[str, ...] = ()
    case: int | None = None
    write_docs: bool = False

    def __post_init__(self) -> None:
        require_positive(self, "cases", "workers")
        require(self.seed >= 0, "seed", "at least 0", self.seed)
        require_known(self.only, FORMATS, "only")
        if self.case is not None:
            require(self.case >= 0, "case", "at least 0", self.case)
            require(len(self.only) == 1, "only", "the format of the case", self.only)

    def chosen(self) -> list[Case]:
        """What is run."""
        if self.case is not None:
            return [Case(self.only[0], self.case, self.seed)]
        return list(spread(list(self.only or FORMATS), self.cases, self.seed))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the cases, prints the table, writes results.json; 1 if a loader broke its promise."""
    config = parse(FuzzConfig, argv, command=COMMAND, description=__doc__)
    results = run_all(config)
    if config.case is not None:
        print(json.dumps(describe(results[0]), indent=2))
        return int(results[0].outcome.failed)
    found = figures(results)
    print(text_table(count(results)))
    for kind, failures in found["failures"].items():
        print(f"\n{kind}:")
        for each in failures:
            print(f"  {each['again']}: {each['mutator']}, {each['path']}: {each['detail']}")
    print(f"figures: {write_results(config.output, figures=found, config=config)}")
    if config.write_docs:
        write_docs(PAGE, count(results))
    return int(found["failed"] > 0)


def run_all(config: FuzzConfig) -> list[Result]:
    """The results, in the order of the cases."""
    cases = config.chosen()
    results: dict[Case, Result] = {}
    with progress_bar(len(cases), "damaged files", "file") as bar:
        for result in run_cases(cases, config.workers):
            results[result.case] = result
            bar.set_postfix_str(f"{sum(r.outcome.failed for r in results.values())} failures")
            bar.update(1)
    return [results[case] for case in cases]


if __name__ == "__main__":
    sys.exit(main())
