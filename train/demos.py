"""Makes demonstrations with the scripted experts.

    python -m train.demos --suite libero_spatial

With --lead a policy acts first and an expert takes over, which shows how to get out of where
policies get into (as DAgger does, Ross et al. 2011, section 3, with one switch per episode).
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os
import queue
import sys
import threading
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rfsq_jax.libero.demonstrations.bundled import write_bundle
from rfsq_jax.libero.demonstrations.generation import (
    Pilot,
    Recipe,
    attempts_folder,
    finished_attempts,
    generate,
    task_file,
)
from rfsq_jax.libero.demonstrations.hdf5 import read_attempts, read_demonstrations
from rfsq_jax.libero.demonstrations.summary import describe, summarise
from rfsq_jax.libero.experts import STYLES
from rfsq_jax.libero.tasks import Task, choose_tasks
from rfsq_jax.runs.checks import require, require_positive
from rfsq_jax.runs.options import parse, user_errors
from rfsq_jax.runs.progress import progress_bar
from rfsq_jax.runs.results import claim_folder, write_results

if TYPE_CHECKING:
    from rfsq_jax.policies.token_policy import Policy

COMMAND = "train.demos"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemosConfig:
    """Options of train.demos.

    Attributes:
      suite: a LIBERO suite, such as libero_spatial.
      episodes: demonstrations in all, spread evenly over the tasks.
      output: folder for one HDF5 file per task and results.json; the same command resumes there.
      tasks: indices of the tasks to demonstrate; all by default.
      workers: simulator processes.
      seed: another seed gives other placements and other movements.
      style: "human" varies like a person, "near" too but takes things at the side that the hand is
        on, "steady" does not vary.
      widen: metres by which placement regions grow on all sides.
      images: whether to store both cameras, some 20 times slower on a CPU.
      image_size: height and width of stored pictures, pixels.
      bundle: also pack everything, without pictures, into this npz file.
      lead: a policy, by name or folder, that acts first; what it does is executed and no label.
      lead_steps: it hands over after 0 to this many steps, as soon as the hand holds nothing.
    """

    suite: str = "libero_spatial"
    episodes: int = 500
    output: Path = Path("runs/demos")
    tasks: tuple[int, ...] = ()
    workers: int = 2
    seed: int = 0
    style: str = "human"
    widen: float = 0.0
    images: bool = False
    image_size: int = 128
    bundle: Path | None = None
    lead: str | None = None
    lead_steps: int = 160

    def __post_init__(self) -> None:
        require_positive(self, "episodes", "workers", "image_size", "lead_steps")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")
        if self.widen < 0:
            raise ValueError(f"widen must be at least 0 m, got {self.widen}")
        if self.style not in STYLES:
            raise ValueError(f"style must be one of {', '.join(STYLES)}, got {self.style!r}")
        if self.lead is not None and (self.images or self.bundle is not None):
            raise ValueError("lead must be None where images or bundle is given; it draws its own")
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"tasks must not repeat, got {self.tasks}")

    @property
    def recipe(self) -> Recipe:
        """What decides the content of each episode."""
        image_size = self.image_size if self.images else None
        return Recipe(
            seed=self.seed,
            style=self.style,
            widen=self.widen,
            image_size=image_size,
            lead=self.lead,
            lead_steps=self.lead_steps if self.lead else 0,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Makes what is missing, then writes and prints the figures."""
    config = parse(DemosConfig, argv, command=COMMAND, description=__doc__)
    with user_errors(COMMAND):
        shares = episode_shares(config)
        claim(config, shares)
    make_missing(config, shares)
    demonstrations = {task: read_demonstrations(task_file(config.output, task)) for task in shares}
    attempts = {task: read_attempts(task_file(config.output, task)) for task in shares}
    figures = summarise(demonstrations, attempts)
    write_results(config.output, figures=figures, config=config)
    print(describe(figures))
    if config.bundle is not None:
        write_bundle(config.bundle, [each for group in demonstrations.values() for each in group])
    return 0


def episode_shares(config: DemosConfig) -> dict[Task, int]:
    """Spreads the episodes over the tasks; the first tasks get the remainder.

    Raises:
      ValueError: for an unknown suite or task, or fewer episodes than tasks.
    """
    chosen = choose_tasks(config.suite, config.tasks)
    expected = f"at least one per task ({len(chosen)})"
    require(config.episodes >= len(chosen), "episodes", expected, config.episodes)
    each, rest = divmod(config.episodes, len(chosen))
    return {task: each + (place < rest) for place, task in enumerate(chosen)}


def claim(config: DemosConfig, shares: dict[Task, int]) -> None:
    """Claims the folder for this suite, recipe and number of episodes."""
    by_name = {task.name: count for task, count in shares.items()}
    identity = {"suite": config.suite, "shares": by_name, **dataclasses.asdict(config.recipe)}
    claim_folder(config.output, identity)


def make_missing(config: DemosConfig, shares: dict[Task, int]) -> None:
    """Runs the workers over the tasks that are not finished, with a progress bar.

    Raises:
      SystemExit: if a worker was killed.
      Exception: the first error of a worker.
    """
    missing = {
        task: count for task, count in shares.items() if not task_file(config.output, task).exists()
    }
    if not missing:
        return
    behind = sum(shares[task] for task in shares if task not in missing)
    for task in missing:
        behind += len(finished_attempts(attempts_folder(config.output, task))[0])
    # Each worker is one simulation on one core; a maths library's own threads only get in the way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    reports = context.Queue()
    with (
        progress_bar(config.episodes, f"{config.suite} demos", "episode", initial=behind) as bar,
        concurrent.futures.ProcessPoolExecutor(
            min(config.workers, len(missing)),
            mp_context=context,
            initializer=_start_worker,
            initargs=(reports,),
        ) as pool,
    ):
        pending = {
            pool.submit(_work, task, count, config.recipe, config.output)
            for task, count in missing.items()
        }
        try:
            _follow(pending, reports, bar)
        except BrokenProcessPool as error:
            raise SystemExit(
                "a worker was killed, perhaps for lack of memory; the same command resumes"
            ) from error


def _follow(pending: set[concurrent.futures.Future], reports: Any, bar: Any) -> None:
    failed = 0
    while pending:
        try:
            succeeded = reports.get(timeout=0.5)
        except queue.Empty:
            pending = _raise_errors(pending)
            continue
        failed += not succeeded
        bar.update(int(succeeded))
        bar.set_postfix_str(f"{failed} failed")


def _raise_errors(pending: set[concurrent.futures.Future]) -> set[concurrent.futures.Future]:
    """Returns the unfinished ones; the first failed one cancels them and raises."""
    finished = {future for future in pending if future.done()}
    for future in finished:
        if future.exception() is not None:
            for other in pending:
                other.cancel()
        future.result()
    return pending - finished


_reports: Any = None


def _start_worker(reports: Any) -> None:
    global _reports
    _reports = reports
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """Ends this worker when the command is killed; two runs must not write to one folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(task: Task, count: int, recipe: Recipe, output: Path) -> None:
    pilot = None if recipe.lead is None else _pilot(recipe.lead, task)
    generate(task, count, recipe, output, report=_reports.put, pilot=pilot)


def _pilot(lead: str, task: Task) -> Pilot:
    import jax

    from rfsq_jax.policies.rollout_policy import PolicyPilot

    # Workers would each reserve a whole accelerator.
    jax.config.update("jax_platforms", "cpu")
    return PolicyPilot(_load_policy(lead), task.instruction)


@functools.cache
def _load_policy(lead: str) -> Policy:
    from rfsq_jax.policies.token_policy import Policy

    return Policy.from_pretrained(lead)


if __name__ == "__main__":
    sys.exit(main())
