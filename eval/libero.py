"""Evaluates a policy in LIBERO, by the official protocol unless an option says otherwise.

    python -m eval.libero                                    a thin slice of LIBERO-Spatial
    python -m eval.libero --policy runs/heads/small/policy --suite libero_object --trials 50
    python -m eval.libero --policy openvla-oft --checkpoint DIR --trials 50

A killed run goes on when the same command is given again. Errors are no failures: an episode that
cannot be played is tried once more, and if that fails no rate is printed.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from rfsq_jax.backbones.options import BackboneOption
from rfsq_jax.data.readers.jpeg import DecoderMissingError
from rfsq_jax.evaluation import results
from rfsq_jax.evaluation.analysis.summary import success_table
from rfsq_jax.evaluation.analysis.versions import describe_simulator
from rfsq_jax.evaluation.log import EpisodeLog, Record
from rfsq_jax.evaluation.play.batched_policy import Server, default_batch
from rfsq_jax.evaluation.play.libero_simulator import LiberoSimulator
from rfsq_jax.evaluation.play.run import EpisodeError, Evaluation
from rfsq_jax.evaluation.play.worker import Job, SimulatorWorker, Videos
from rfsq_jax.evaluation.protocol import EvaluationProtocol, Starts, Trial
from rfsq_jax.evaluation.report.page import write_report
from rfsq_jax.libero.environment import POLICY_CAMERAS
from rfsq_jax.libero.install import RenderingError
from rfsq_jax.libero.tasks import SUITES, Task, official_init_states, tasks
from rfsq_jax.parallel.workers import Pool
from rfsq_jax.policies import Mode, Policy
from rfsq_jax.runs.checks import require, require_positive
from rfsq_jax.runs.files import remove_leftovers
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.progress import progress_bar
from rfsq_jax.runs.results import claim_folder, write_results

ALL = "all"


@dataclasses.dataclass(frozen=True)
class LiberoConfig:
    """Options of eval.libero.

    Attributes:
      policy: a bundled name, a folder that train.heads wrote, or openvla or openvla-oft: the
        original model of a checkpoint, with its own actions.
      checkpoint: folder of the backbone's weights, for a backbone that has none of its own.
      backbone_options: further options of the backbone, such as "chips 4" for OpenVLA.
      suite: suites, such as libero_spatial libero_spatial_swap; "all" is the five original ones.
      tasks: indices of the tasks of each suite; all by default.
      trials: episodes per task; the official protocol has 50.
      seed: of random placements; nothing else is random.
      workers: simulator processes; they do not change results. Each takes about 2 GB.
      video: which episodes are filmed: none, failures or all.
      mode: how the policy decodes: greedy, speculative or early_exit.
      starts: official initial states, for reporting, or random placements, for choosing.
      placement_margin: metres by which the regions of random placements grow on all sides.
      execute: steps of each chunk that are played; all by default.
      settle_steps: steps without motion at the start of an episode.
      step_limit: steps after settling; the suite's own by default.
      batch: rows of every call of the policy, a power of two; by default 1 on a CPU, else 8.
      output: the run's folder; the same command resumes there.
    """

    policy: str = "small"
    checkpoint: Path | None = None
    backbone_options: dict[str, BackboneOption] = dataclasses.field(default_factory=dict)
    suite: tuple[str, ...] = ("libero_spatial",)
    tasks: tuple[int, ...] = ()
    trials: int = 2
    seed: int = 0
    workers: int = 2
    video: Videos = "failures"
    mode: Mode = "greedy"
    starts: Starts = "official"
    placement_margin: float = 0.05
    execute: int | None = None
    settle_steps: int = 10
    step_limit: int | None = None
    batch: int | None = None
    output: Path = Path("runs/libero")

    def __post_init__(self) -> None:
        require_positive(self, "trials", "workers")
        require(len(self.suite) > 0, "suite", "at least one name", self.suite)
        require(len(set(self.suite)) == len(self.suite), "suite", "without repeats", self.suite)
        require(len(set(self.tasks)) == len(self.tasks), "tasks", "without repeats", self.tasks)
        if self.execute is not None:
            require_positive(self, "execute")


def main(argv: Sequence[str] | None = None) -> int:
    """Plays what is missing, prints the table, writes results.json and report.html."""
    config = parse(LiberoConfig, argv, description=(__doc__ or "").split("\n\n")[0])
    try:
        chosen = choose_tasks(config)
        simulator = describe_simulator()
        policy = Policy.from_pretrained(
            config.policy,
            checkpoint=config.checkpoint,
            mode=config.mode,
            suites=config.suite,
            backbone_options=config.backbone_options,
        )
        # Loaded now: what is wrong with them is no episode's error.
        _ = policy.backbone.params
        protocol = protocol_of(config, policy)
        server = Server(policy, config.batch or default_batch())
    except (FileNotFoundError, ValueError, DecoderMissingError, RenderingError) as error:
        print(f"eval.libero: {error}", file=sys.stderr)
        return 1
    claim_folder(config.output, results.identity(config, policy, protocol, server.batch, simulator))
    records, errors = evaluate(config, protocol, server, chosen)
    figures = results.describe_run(config, policy, protocol, server, simulator)
    for warning in figures["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    if errors:
        code = results.refuse(config, figures, errors)
        report = write_report(config.output)
        print(f"report: {report}", file=sys.stderr)
        return code
    figures |= results.measure(config, policy, server, records, chosen)
    path = write_results(config.output, figures=figures, config=config)
    report = write_report(config.output)
    print(success_table(figures["suites"]))
    print("".join(f"not the official protocol: {each}\n" for each in figures["deviations"]), end="")
    print(f"figures: {path}")
    print(f"report: {report}")
    return 0


def choose_tasks(config: LiberoConfig) -> list[Task]:
    """The tasks to play, suite by suite.

    Raises:
      ValueError: for an unknown suite or task, or more trials than a task has initial states.
    """
    chosen = []
    for suite in SUITES if config.suite == (ALL,) else config.suite:
        known = tasks(suite)
        wanted = config.tasks or tuple(range(len(known)))
        expected = f"in 0..{len(known) - 1} for {suite}"
        require(all(0 <= each < len(known) for each in wanted), "tasks", expected, wanted)
        chosen += [known[index] for index in wanted]
    if config.starts == "official":
        for task in chosen:
            stored = len(official_init_states(task))
            expected = f"at most {stored}, the initial states of {task.suite} task {task.index}"
            require(config.trials <= stored, "trials", expected, config.trials)
    return chosen


def protocol_of(config: LiberoConfig, policy: Policy) -> EvaluationProtocol:
    """How episodes are played.

    Raises:
      ValueError: if a chunk has fewer steps than are to be played.
    """
    execute = policy.horizon if config.execute is None else config.execute
    expected = f"at most {policy.horizon}, the steps of the policy's chunks"
    require(execute <= policy.horizon, "execute", expected, execute)
    return EvaluationProtocol(
        execute=execute,
        starts=config.starts,
        placement_margin=config.placement_margin if config.starts == "random" else 0.0,
        seed=config.seed,
        settle_steps=config.settle_steps,
        step_limit=config.step_limit,
        image_size=policy.backbone.spec.image_size,
    )


def evaluate(
    config: LiberoConfig, protocol: EvaluationProtocol, server: Server, chosen: Sequence[Task]
) -> tuple[list[Record], list[EpisodeError]]:
    """Plays what the folder's log does not have; returns the wanted episodes and the errors."""
    log = EpisodeLog(config.output / "episodes.jsonl")
    trials = [Trial(task.suite, task.index, n) for task in chosen for n in range(config.trials)]
    done = sum(trial in log.records for trial in trials)
    job = Job(
        protocol=protocol, make_simulator=LiberoSimulator, output=config.output, videos=config.video
    )
    start = functools.partial(SimulatorWorker, job=job, cameras=len(POLICY_CAMERAS))
    for kind in ("actions", "videos"):
        remove_leftovers(config.output / kind)
    with (
        progress_bar(len(trials), "episodes", "episode", initial=done) as bar,
        Pool(start, min(config.workers, len(trials))) as pool,
    ):

        def follow(record: Record) -> None:
            solved = [each.success for each in log.records.values()]
            bar.set_postfix_str(f"{sum(solved)} of {len(solved)} solved", refresh=False)
            bar.update(1)

        errors = Evaluation(pool, server, log, follow).play_all(trials)
    return [log.records[trial] for trial in trials if trial in log.records], errors


if __name__ == "__main__":
    sys.exit(main())
