"""Do two policies differ? Compares two runs of eval.libero episode by episode.

    python -m eval.libero_pair runs/first runs/second

Both must have played the same episodes: same suites, starts and seed. Prints for each suite who
solved what alone, the difference with its interval, and McNemar's exact p-value.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from rfsq_jax.evaluation.analysis.pairs import compare_runs, pair_table, read_run
from rfsq_jax.runs.commands import STARTS_AGAIN, command, user_errors
from rfsq_jax.runs.json_files import write_json
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.records import require_types

COMMAND = "eval.libero_pair"


@dataclasses.dataclass(frozen=True)
class PairConfig:
    """Options of eval.libero_pair.

    Attributes:
      first: folder or results.json of a run of eval.libero.
      second: of another one.
      output: a JSON file for the figures; none by default.
    """

    first: Annotated[Path, tyro.conf.Positional]
    second: Annotated[Path, tyro.conf.Positional]
    output: Path | None = None

    def __post_init__(self) -> None:
        require_types(self)


@command(COMMAND, STARTS_AGAIN)
def main(argv: Sequence[str] | None = None) -> int:
    """Compares and prints."""
    config = parse(PairConfig, argv, command=COMMAND, description=__doc__)
    with user_errors(COMMAND):
        first, second = read_run(config.first), read_run(config.second)
        figures = compare_runs(first, second)
    print(pair_table(figures))
    for name, run in (("first", first), ("second", second)):
        policy = run["policy"]
        print(f"{name}: {policy['name']} ({policy['kind']}, {policy['mode']})")
    if config.output is not None:
        write_json(
            config.output, {name: dataclasses.asdict(paired) for name, paired in figures.items()}
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
