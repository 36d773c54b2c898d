"""How much faster is eval.libero than the usual loop, on this machine, in the same run?

    python -m eval.libero_speed

The usual loop plays one episode after the other in the stock environment, which renders both
cameras on every step. All contestants play the same episodes and take turns; scenes are built
before the clock starts. The actions of both must agree to the last bit.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from eval.benchmarks.timing import Spread, busy_note, ratio
from eval.benchmarks.usual_loop import Hashes, UsualLoop
from rfsq_jax.evaluation.libero import LiberoEvaluation
from rfsq_jax.evaluation.log import EpisodeLog
from rfsq_jax.evaluation.protocol import Trial
from rfsq_jax.evaluation.settings import LiberoOptions
from rfsq_jax.libero.tasks import Task, get_task
from rfsq_jax.policies import Policy
from rfsq_jax.policies.loading import PolicyOptions
from rfsq_jax.runs.checks import require, require_positive
from rfsq_jax.runs.commands import STARTS_AGAIN, command, user_errors
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.terminal import format_table, progress_bar

COMMAND = "eval.libero_speed"
USUAL = "usual loop"
WANTED = 5.0

Contestant = Callable[[Sequence[Trial]], Hashes]


@dataclasses.dataclass(frozen=True)
class SpeedConfig(PolicyOptions):
    """Which policy plays which episodes, and how often.

    Attributes:
      suite: where the task comes from.
      task: its index.
      episodes: in each turn of a contestant.
      rounds: turns of each contestant.
      workers: pools that take part, by their size.
      output: folder of results.json.
    """

    suite: str = "libero_spatial"
    task: int = 0
    episodes: int = 4
    rounds: int = 3
    workers: tuple[int, ...] = (1, 2)
    output: Path = Path("runs/libero_speed")

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(self, "episodes", "rounds")
        fits = self.workers != () and min(self.workers) >= 1
        require(fits, "workers", "sizes of at least 1", self.workers)


class Ours:
    """The pool of eval.libero, with its scenes built."""

    def __init__(self, config: SpeedConfig, policy: Policy, workers: int, folder: Path) -> None:
        """Starts no process yet."""
        options = LiberoOptions(
            policy=config.policy,
            suite=(config.suite,),
            tasks=(config.task,),
            video="none",
            output=folder,
        )
        self._evaluation, self._folder = LiberoEvaluation(options, policy), folder
        self.pool = self._evaluation.start_pool(workers)
        self.worker_mib = 0.0

    def __call__(self, trials: Sequence[Trial]) -> Hashes:
        """Plays trials."""
        log = EpisodeLog(self._folder / f"{time.monotonic_ns()}.jsonl")
        errors = self._evaluation.play(self.pool, log, trials)
        if errors:
            raise RuntimeError(errors[0].reasons[-1])
        self.worker_mib = max(record.worker_mib for record in log.records.values())
        return {key.number: record.actions_sha256 for key, record in log.records.items()}


@command(COMMAND, STARTS_AGAIN)
def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the table, writes results.json; fails below the wanted ratio."""
    config = parse(SpeedConfig, argv, command=COMMAND, description=__doc__)
    note = busy_note()
    with user_errors(COMMAND):
        task = get_task(config.suite, config.task)
        policy = config.load(suites=(config.suite,))
    seconds, same, worker_mib = measure(config, task, policy)
    figures = summarise(config, seconds) | {"same_actions": same, "worker_mib": worker_mib}
    write_results(config.output, figures=figures | {"note": note}, config=config)
    print(table(config, seconds))
    print(f"same actions as the usual loop in {same['same']} of {same['episodes']} episodes")
    print(f"memory of a worker: {worker_mib:.0f} MiB at its peak")
    print(note, end="\n" if note else "")
    fast = figures["speedup"][str(max(config.workers))]["median"] >= WANTED
    return 0 if fast and same["same"] == same["episodes"] else 1


def measure(
    config: SpeedConfig, task: Task, policy: Policy
) -> tuple[dict[str, list[float]], dict[str, int], float]:
    """Lets all contestants take turns on the same episodes.

    Returns:
      seconds per episode by contestant, one per round; how many of the pools' episodes have the
      actions of the usual loop; peak memory of a worker, MiB.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pools = {str(size): Ours(config, policy, size, folder) for size in config.workers}
        for size, ours in pools.items():
            stack.enter_context(ours.pool)
            # Builds the scene of every worker: with two trials for each, all of them get one.
            ours([Trial(task.suite, task.index, 49 - number) for number in range(2 * int(size))])
        usual = UsualLoop(task, policy)
        stack.callback(usual.close)
        contestants: dict[str, Contestant] = {USUAL: usual, **pools}
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        same = {"same": 0, "episodes": 0}
        with progress_bar(config.rounds * len(contestants), "turns", "turn") as bar:
            for number in range(config.rounds):
                hashes = take_turn(config, task, number, contestants, seconds, bar.update)
                for ours in (hashes[name] for name in pools):
                    same["episodes"] += len(ours)
                    same["same"] += sum(hashes[USUAL][key] == value for key, value in ours.items())
        return seconds, same, max(ours.worker_mib for ours in pools.values())


def take_turn(
    config: SpeedConfig,
    task: Task,
    number: int,
    contestants: dict[str, Contestant],
    seconds: dict[str, list[float]],
    after_turn: Callable[[int], object],
) -> dict[str, Hashes]:
    """One round; every other one in reverse order. Appends to `seconds`; returns action hashes."""
    first = number * config.episodes
    trials = [Trial(task.suite, task.index, first + n) for n in range(config.episodes)]
    hashes = {}
    for name in list(contestants)[:: 1 if number % 2 == 0 else -1]:
        began = time.perf_counter()
        hashes[name] = contestants[name](trials)
        seconds[name].append((time.perf_counter() - began) / len(trials))
        after_turn(1)
    return hashes


def summarise(config: SpeedConfig, seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Episodes per minute, and ratios taken within rounds."""
    speedup = {str(n): ratio(seconds[USUAL], seconds[str(n)]) for n in config.workers}
    return {
        "seconds_per_episode": seconds,
        "episodes_per_minute": {
            name: dataclasses.asdict(Spread.of([60 / each for each in values]))
            for name, values in seconds.items()
        },
        "speedup": {name: dataclasses.asdict(spread) for name, spread in speedup.items()},
    }


def table(config: SpeedConfig, seconds: dict[str, list[float]]) -> str:
    """One line per contestant."""
    rows = [
        [
            name if name == USUAL else f"eval.libero, workers: {name}",
            str(Spread.of([60 / each for each in values])),
            str(ratio(seconds[USUAL], values)),
        ]
        for name, values in seconds.items()
    ]
    header = ["contestant", "episodes per minute", "times the usual loop"]
    return format_table(header, rows) + f"\nmedian (min to max) over {config.rounds} rounds"


if __name__ == "__main__":
    sys.exit(main())
