"""A policy in LIBERO: plays what is missing, measures, writes results and report.

results.json has under "figures":
  policy, protocol, deviations, simulator, batch, rows_independent, warnings
  suites      by name: successes, trials, rate, interval, and the same under "tasks"; null if errors
  errors      trials that could not be played, with the reasons
  time        seconds per chunk by part: in workers, and in the policy; memory of a worker
  draft       accepted shares, on a sample of the run's questions; null without a draft
  episodes    as in episodes.jsonl, with the paths of videos and filmstrips
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rfsq_jax.evaluation import results
from rfsq_jax.evaluation.analysis.versions import describe_simulator, known_changes
from rfsq_jax.evaluation.log import EpisodeLog, Record
from rfsq_jax.evaluation.play.batched_policy import Server, default_batch, rows_are_independent
from rfsq_jax.evaluation.play.libero_simulator import LiberoSimulator
from rfsq_jax.evaluation.play.run import EpisodeError, Evaluation
from rfsq_jax.evaluation.play.worker import Job, SimulatorWorker
from rfsq_jax.evaluation.protocol import Trial, deviations
from rfsq_jax.evaluation.report.page import write_report
from rfsq_jax.evaluation.results import errors_text, success_table
from rfsq_jax.evaluation.settings import LiberoOptions, choose_tasks, protocol_of
from rfsq_jax.libero.environment import POLICY_CAMERAS
from rfsq_jax.parallel.places import LOCAL, Place
from rfsq_jax.parallel.workers import Pool
from rfsq_jax.policies import Policy
from rfsq_jax.runs.claims import claim_folder, hold_folder
from rfsq_jax.runs.clusters import place_of
from rfsq_jax.runs.files import remove_leftovers
from rfsq_jax.runs.results import RESULTS, write_results
from rfsq_jax.runs.terminal import progress_bar


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came out of a run.

    Attributes:
      figures: as in results.json, which is written.
      errors: trials that could not be played; with any, the figures hold no rate.
      output: the run's folder.
      report: the page that shows it.
    """

    figures: dict[str, Any]
    errors: list[EpisodeError]
    output: Path
    report: Path

    def __str__(self) -> str:
        """The table of rates and how the run differs from the official protocol, or the errors."""
        if self.errors:
            return f"{errors_text(self.output, self.errors)}\nreport: {self.report}"
        lines = [success_table(self.figures["suites"])]
        lines += [f"not the official protocol: {each}" for each in self.figures["deviations"]]
        return "\n".join([*lines, f"figures: {self.output / RESULTS}", f"report: {self.report}"])


class LiberoEvaluation:
    """A policy on the tasks of a run; making one checks all that needs no episode.

    Attributes:
      options: of the run.
      policy: what plays.
      tasks: what is played.
      protocol: how.
      server: the policy for all workers.
      simulator: versions, and what renders.
    """

    def __init__(self, options: LiberoOptions, policy: Policy) -> None:
        """Starts no process and writes nothing.

        Raises:
          ValueError: if options do not fit the benchmark or the policy.
          NotInstalledError: if something is missing that simulates or renders.
        """
        self.options, self.policy = options, policy
        self.tasks = choose_tasks(options)
        self.protocol = protocol_of(options, policy)
        self.server = Server(policy, options.batch or default_batch())
        self.simulator = describe_simulator()
        self.place: Place = LOCAL

    @classmethod
    @contextlib.contextmanager
    def open(cls, options: LiberoOptions) -> Iterator[LiberoEvaluation]:
        """Holds and claims the run's folder, and loads the policy.

        Raises:
          FileNotFoundError: if there is no such policy.
          ValueError: as `__init__` and `Policy.from_pretrained`, or if the folder holds another
            run.
          NotInstalledError: as `__init__`.
        """
        # Looked at before a policy is loaded, which may take minutes.
        choose_tasks(options)
        with hold_folder(options.output):
            policy = options.load(options.mode, options.suite)
            # Loaded now: what is wrong with them is no episode's error.
            _ = policy.backbone.params
            run = cls(options, policy)
            claim_folder(options.output, run.identity())
            with place_of(options.ray) as run.place:
                yield run

    def identity(self) -> dict[str, Any]:
        """What decides how each episode ends; which episodes are played may change between runs."""
        return {
            "policy": self.policy.version,
            "mode": self.policy.mode,
            "batch": self.server.batch,
            "protocol": dataclasses.asdict(self.protocol),
            "simulator": self.simulator,
        }

    def describe(self) -> dict[str, Any]:
        """What is known without any episode."""
        shown = results.noise(self.policy.backbone)
        independent = rows_are_independent(self.policy, shown, self.server.batch)
        warnings = known_changes(self.simulator["versions"])
        if not independent:
            warnings.append(
                f"rows of a batch of {self.server.batch} change each other's last bits here: "
                "results may depend on the number of workers; --batch 1 avoids it"
            )
        some_tasks = bool(self.options.tasks)
        return {
            "policy": {"name": self.options.policy, **self.policy.describe()},
            "protocol": dataclasses.asdict(self.protocol),
            "deviations": deviations(self.protocol, self.options.trials, some_tasks),
            "simulator": self.simulator,
            "batch": self.server.batch,
            "rows_independent": independent,
            "warnings": warnings,
        }

    def start_pool(self, workers: int) -> Pool[SimulatorWorker]:
        """Returns simulators, which start when they are needed."""
        job = Job(
            protocol=self.protocol,
            make_simulator=LiberoSimulator,
            # Another machine's processes are in another folder.
            output=self.options.output.resolve(),
            videos=self.options.video,
        )
        cameras = len(POLICY_CAMERAS)
        start = functools.partial(SimulatorWorker, job=job, cameras=cameras, place=self.place)
        return Pool(start, workers)

    def play(
        self,
        pool: Pool[SimulatorWorker],
        log: EpisodeLog,
        trials: Sequence[Trial],
        after_episode: Callable[[Record], object] = lambda record: None,
    ) -> list[EpisodeError]:
        """Plays the trials that the log does not have; returns those that cannot be played."""
        return Evaluation(pool, self.server, log, after_episode).play_all(trials)

    def run(self) -> Outcome:
        """Plays what the run's folder does not have, measures, writes results.json and a report."""
        records, errors = self._play_missing()
        options, figures = self.options, self.describe()
        if errors:
            figures |= {"suites": None, "errors": results.write_errors(options.output, errors)}
        else:
            output, server = options.output, self.server
            figures |= results.measure(output, self.policy, server, records, self.tasks)
        write_results(options.output, figures=figures, config=options)
        return Outcome(figures, errors, options.output, write_report(options.output))

    def _play_missing(self) -> tuple[list[Record], list[EpisodeError]]:
        options = self.options
        log = EpisodeLog(options.output / "episodes.jsonl")
        numbers = range(options.trials)
        trials = [Trial(task.suite, task.index, n) for task in self.tasks for n in numbers]
        done = sum(trial in log.records for trial in trials)
        for kind in ("actions", "videos"):
            remove_leftovers(options.output / kind)
        with (
            progress_bar(len(trials), "episodes", "episode", initial=done) as bar,
            self.start_pool(min(options.workers, len(trials))) as pool,
        ):

            def follow(record: Record) -> None:
                solved = [each.success for each in log.records.values()]
                bar.set_postfix_str(f"{sum(solved)} of {len(solved)} solved", refresh=False)
                bar.update(1)

            errors = self.play(pool, log, trials, follow)
        return [log.records[trial] for trial in trials if trial in log.records], errors
