"""How do a policy's episodes fail? Plays the failures of a run of eval.libero again and says.

    python -m eval.failures runs/libero

Physics only, without the policy. Tasks with a goal of one thing on or in another.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from rfsq_jax.evaluation.analysis.failure_modes import Diagnosis, count_modes, diagnose
from rfsq_jax.evaluation.log import EpisodeLog, Record, read_actions
from rfsq_jax.evaluation.play.libero_simulator import start_of
from rfsq_jax.evaluation.protocol import EvaluationProtocol, Scene, current_names
from rfsq_jax.libero.environment import Environment
from rfsq_jax.libero.tasks import get_task
from rfsq_jax.parallel.calls import run_all
from rfsq_jax.runs.checks import require_positive
from rfsq_jax.runs.commands import STARTS_AGAIN, command, user_errors
from rfsq_jax.runs.json_files import write_json
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.results import read_results
from rfsq_jax.runs.terminal import format_table, progress_bar

COMMAND = "eval.failures"
OUTPUT = "failures.json"


@dataclasses.dataclass(frozen=True)
class FailuresConfig:
    """Options of eval.failures.

    Attributes:
      run: folder of a run of eval.libero; failures.json is written there.
      workers: simulator processes.
    """

    run: Annotated[Path, tyro.conf.Positional]
    workers: int = 2

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(self, "workers")


@command(COMMAND, STARTS_AGAIN)
def main(argv: Sequence[str] | None = None) -> int:
    """Plays, prints the table, writes the file."""
    config = parse(FailuresConfig, argv, command=COMMAND, description=__doc__)
    with user_errors(COMMAND):
        protocol, failures = read_failures(config.run)
        diagnosed = diagnose_all(config, protocol, failures)
    print(modes_table(diagnosed))
    print(describe_misses(diagnosed))
    figures = [
        {**dataclasses.asdict(record.key), **dataclasses.asdict(each), "mode": each.mode.value}
        for record, each in diagnosed
    ]
    write_json(config.run / OUTPUT, figures)
    print(f"figures: {config.run / OUTPUT}")
    return 0


def read_failures(run: Path) -> tuple[EvaluationProtocol, list[Record]]:
    """How the run was played, and its failed episodes.

    Raises:
      FileNotFoundError: if there is no finished run.
      ValueError: if its log is damaged.
    """
    path = run / "results.json"
    if not path.is_file():
        raise FileNotFoundError(f"expected a finished run of eval.libero, got nothing at {path}")
    figures = read_results(path)["figures"]
    if "protocol" not in figures:
        raise ValueError(f"{path} must be of a run of eval.libero, got another command's")
    protocol = EvaluationProtocol(**current_names(figures["protocol"]))
    records = EpisodeLog(run / "episodes.jsonl").records.values()
    return protocol, [record for record in records if not record.success]


def diagnose_all(
    config: FailuresConfig, protocol: EvaluationProtocol, failures: Sequence[Record]
) -> list[tuple[Record, Diagnosis]]:
    """Plays each task's failures in one process.

    Raises:
      FileNotFoundError, ValueError: as `read_actions` and `diagnose`.
      WorkerDiedError: if a process was killed.
    """
    by_task: dict[Scene, list[Record]] = defaultdict(list)
    for record in failures:
        by_task[record.key.scene].append(record)
    tasks = [(config.run, protocol, records) for records in by_task.values()]
    with progress_bar(len(failures), "failures", "episode") as bar:
        found = run_all(diagnose_task, tasks, workers=config.workers, on_report=bar.update)
    return [
        pair
        for records, diagnoses in zip(by_task.values(), found, strict=True)
        for pair in zip(records, diagnoses, strict=True)
    ]


def diagnose_task(
    run: Path,
    protocol: EvaluationProtocol,
    records: Sequence[Record],
    report: Callable[[int], None],
) -> list[Diagnosis]:
    """What happened in these episodes of one task; reports 1 after each."""
    found = []
    with Environment(get_task(*records[0].key.scene)) as env:
        for record in records:
            env.reset(start_of(env, record.key, protocol), settle_steps=protocol.settle_steps)
            found.append(diagnose(env, read_actions(run, record)))
            report(1)
    return found


def modes_table(diagnosed: Sequence[tuple[Record, Diagnosis]]) -> str:
    """One line per suite and failure mode."""
    suites = list(dict.fromkeys(record.suite for record, _ in diagnosed))
    rows = []
    for suite in suites:
        ours = [each for record, each in diagnosed if record.suite == suite]
        for mode, count in count_modes(ours).items():
            rows.append([suite, mode, str(count), f"{100 * count / len(ours):.0f}%"])
    return format_table(["suite", "how it failed", "episodes", "of failures"], rows)


def describe_misses(diagnosed: Sequence[tuple[Record, Diagnosis]]) -> str:
    """How far from the thing the hand first closed."""
    found: list[Any] = [1000 * each.miss for _, each in diagnosed if each.miss is not None]
    if not found:
        return "the hand never closed"
    low, middle, high = np.percentile(found, [25, 50, 75])
    return (
        f"first closing, from the grip site to the thing's surface: median {middle:.0f} mm, "
        f"quartiles {low:.0f} and {high:.0f} mm"
    )


if __name__ == "__main__":
    sys.exit(main())
