"""How do a policy's episodes fail? Plays the failures of a run of eval.libero again and says.

    python -m eval.failures runs/libero

Physics only, without the policy. Tasks with a goal of one thing on or in another.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import multiprocessing
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from rfsq_jax.evaluation.analysis.failure_modes import Course, observe_course, share_of
from rfsq_jax.evaluation.executed import read_actions
from rfsq_jax.evaluation.log import EpisodeLog, Record
from rfsq_jax.evaluation.play.libero_simulator import start_of
from rfsq_jax.evaluation.protocol import Protocol
from rfsq_jax.libero.environment import Environment
from rfsq_jax.libero.tasks import get_task
from rfsq_jax.runs.checks import require_positive
from rfsq_jax.runs.files import read_json, write_json
from rfsq_jax.runs.options import parse, user_errors
from rfsq_jax.runs.progress import progress_bar
from rfsq_jax.runs.tables import format_table

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
        require_positive(self, "workers")


def main(argv: Sequence[str] | None = None) -> int:
    """Plays, prints the table, writes the file."""
    config = parse(FailuresConfig, argv, command=COMMAND, description=__doc__)
    with user_errors(COMMAND):
        protocol, failures = read_failures(config.run)
        courses = play_again(config, protocol, failures)
    print(causes_table(courses))
    print(misses(courses))
    figures = [
        {**record.key._asdict(), **dataclasses.asdict(course), "cause": course.cause.value}
        for record, course in courses
    ]
    write_json(config.run / OUTPUT, figures)
    print(f"figures: {config.run / OUTPUT}")
    return 0


def read_failures(run: Path) -> tuple[Protocol, list[Record]]:
    """How the run was played, and its failed episodes.

    Raises:
      FileNotFoundError: if there is no finished run.
      ValueError: if its log is damaged.
    """
    path = run / "results.json"
    if not path.is_file():
        raise FileNotFoundError(f"expected a finished run of eval.libero, got nothing at {path}")
    protocol = Protocol(**read_json(path)["figures"]["protocol"])
    records = EpisodeLog(run / "episodes.jsonl").records.values()
    return protocol, [record for record in records if not record.success]


def play_again(
    config: FailuresConfig, protocol: Protocol, failures: Sequence[Record]
) -> list[tuple[Record, Course]]:
    """Plays each task's failures in one process.

    Raises:
      FileNotFoundError, ValueError: as `read_actions` and `observe_course`.
    """
    by_task: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for record in failures:
        by_task[record.key.place].append(record)
    context = multiprocessing.get_context("spawn")
    with (
        progress_bar(len(failures), "failures", "episode") as bar,
        concurrent.futures.ProcessPoolExecutor(config.workers, mp_context=context) as pool,
    ):
        futures = [
            pool.submit(courses_of, config.run, protocol, records) for records in by_task.values()
        ]
        found = []
        for future, records in zip(futures, by_task.values(), strict=True):
            found += zip(records, future.result(), strict=True)
            bar.update(len(records))
    return found


def courses_of(run: Path, protocol: Protocol, records: Sequence[Record]) -> list[Course]:
    """What happened in these episodes of one task."""
    courses = []
    with Environment(get_task(*records[0].key.place)) as env:
        for record in records:
            env.reset(start_of(env, record.key, protocol), settle_steps=protocol.settle_steps)
            courses.append(observe_course(env, read_actions(run, record)))
    return courses


def causes_table(courses: Sequence[tuple[Record, Course]]) -> str:
    """One line per suite and cause."""
    suites = list(dict.fromkeys(record.suite for record, _ in courses))
    rows = []
    for suite in suites:
        ours = [course for record, course in courses if record.suite == suite]
        for cause, count in share_of(ours).items():
            rows.append([suite, cause, str(count), f"{100 * count / len(ours):.0f}%"])
    return format_table(["suite", "how it failed", "episodes", "of failures"], rows)


def misses(courses: Sequence[tuple[Record, Course]]) -> str:
    """How far from the thing the hand first closed, in words."""
    found: list[Any] = [1000 * c.miss for _, c in courses if c.miss is not None]
    if not found:
        return "the hand never closed"
    low, middle, high = np.percentile(found, [25, 50, 75])
    return (
        f"first closing, from the grip site to the thing's surface: median {middle:.0f} mm, "
        f"quartiles {low:.0f} and {high:.0f} mm"
    )


if __name__ == "__main__":
    sys.exit(main())
