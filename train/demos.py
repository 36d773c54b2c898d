"""Makes demonstrations with the scripted experts.

    python -m train.demos --suite libero_spatial

With --rollout-policy a policy acts first and an expert takes over, which shows how to get out of
where policies get into: a DAgger round (Ross et al. 2011, section 3) with one switch per episode.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax

from rfsq_jax.backbones.protocol import BackboneOption
from rfsq_jax.libero.demonstrations.bundled import write_bundle
from rfsq_jax.libero.demonstrations.generation import (
    Recipe,
    attempts_folder,
    finished_attempts,
    generate,
    task_file,
)
from rfsq_jax.libero.demonstrations.hdf5 import read_attempts, read_demonstrations
from rfsq_jax.libero.demonstrations.summary import describe, summarise
from rfsq_jax.libero.experts import StyleName
from rfsq_jax.libero.tasks import Task, choose_tasks
from rfsq_jax.parallel.calls import run_all
from rfsq_jax.parallel.places import Place
from rfsq_jax.policies.loading import PolicyOptions
from rfsq_jax.policies.rollout_policy import PolicyInSimulator
from rfsq_jax.runs.checks import (
    MAX_SIZE,
    require,
    require_choice,
    require_positive,
    require_range,
    require_seed,
)
from rfsq_jax.runs.claims import claim_folder, hold_folder
from rfsq_jax.runs.clusters import place_of
from rfsq_jax.runs.commands import command, opened, user_errors
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.terminal import progress_bar

COMMAND = "train.demos"
MOST_LOST = 4
"""So often may all workers of a cluster be lost before a run is given up."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemosConfig:
    """Options of train.demos.

    Attributes:
      suite: a LIBERO suite, such as libero_spatial.
      episodes: demonstrations in all, spread evenly over the tasks.
      output: folder for one HDF5 file per task and results.json; the same command resumes there.
      tasks: indices of the tasks to demonstrate; all by default.
      workers: simulator processes.
      ray: address of a Ray cluster, on whose machines they then run; all of these must see the
        folder `output`.
      seed: another seed gives other placements and other movements.
      style: "human" varies like a person, "nearest_grasp" too but takes things at the side that the
        hand is on, "steady" does not vary.
      placement_margin: metres by which placement regions grow on all sides.
      images: whether to store both cameras, some 20 times slower on a CPU.
      image_size: height and width of stored images, pixels.
      bundle: also pack everything, without images, into this npz file.
      rollout_policy: by name or folder, acts first; what it does is executed and no label.
      checkpoint: folder of the weights of that policy's backbone, if it has none of its own.
      backbone_options: further options of that backbone.
      rollout_steps: it hands over after 0 to this many steps, as soon as the hand holds nothing.
    """

    suite: str = "libero_spatial"
    episodes: int = 500
    output: Path = Path("runs/demos")
    tasks: tuple[int, ...] = ()
    workers: int = 2
    ray: str | None = None
    seed: int = 0
    style: StyleName = "human"
    placement_margin: float = 0.0
    images: bool = False
    image_size: int = 128
    bundle: Path | None = None
    rollout_policy: str | None = None
    checkpoint: Path | None = None
    backbone_options: dict[str, BackboneOption] = dataclasses.field(default_factory=dict)
    rollout_steps: int = 160

    def __post_init__(self) -> None:
        require_choice(self.style, StyleName, "style")
        require_types(self)
        require_positive(self, "episodes", "workers", "rollout_steps")
        require_range(self, 1, MAX_SIZE, "image_size")
        require_seed(self)
        margin = self.placement_margin
        require(margin >= 0, "placement_margin", "at least 0 m", margin)
        alone = self.rollout_policy is None or not (self.images or self.bundle)
        require(alone, "rollout_policy", "None with images or bundle", self.rollout_policy)
        require(len(set(self.tasks)) == len(self.tasks), "tasks", "without repeats", self.tasks)

    @property
    def rollout(self) -> PolicyOptions | None:
        """The policy that acts first."""
        if self.rollout_policy is None:
            return None
        return PolicyOptions(self.rollout_policy, self.checkpoint, self.backbone_options)

    @property
    def recipe(self) -> Recipe:
        """What decides the content of each episode."""
        image_size = self.image_size if self.images else None
        return Recipe(
            seed=self.seed,
            style=self.style,
            placement_margin=self.placement_margin,
            image_size=image_size,
            rollout_policy=self.rollout_policy,
            rollout_steps=self.rollout_steps if self.rollout_policy else 0,
        )


@command(COMMAND)
def main(argv: Sequence[str] | None = None) -> int:
    """Makes what is missing, then writes and prints the figures."""
    config = parse(DemosConfig, argv, command=COMMAND, description=__doc__)
    # Nothing here needs an accelerator, which another run may be using.
    jax.config.update("jax_platforms", "cpu")
    with opened(COMMAND, hold_folder(config.output)):
        with user_errors(COMMAND):
            shares = episode_shares(config)
            if config.rollout is not None:
                config.rollout.require_files()
            claim(config, shares)
        with opened(COMMAND, place_of(config.ray)) as place:
            make_missing(config, shares, place)
        show(config, shares)
    return 0


def show(config: DemosConfig, shares: Mapping[Task, int]) -> None:
    """Writes and prints the figures, and the bundle if there is to be one."""
    demonstrations = {task: read_demonstrations(task_file(config.output, task)) for task in shares}
    attempts = {task: read_attempts(task_file(config.output, task)) for task in shares}
    figures = summarise(demonstrations, attempts)
    write_results(config.output, figures=figures, config=config)
    print(describe(figures))
    if config.bundle is not None:
        write_bundle(config.bundle, [each for group in demonstrations.values() for each in group])


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


def make_missing(config: DemosConfig, shares: dict[Task, int], place: Place) -> None:
    """Runs the workers over the tasks that are not finished, with a progress bar.

    Raises:
      WorkerDiedError: if a worker was killed.
      Exception: the first error of a worker.
    """
    missing = {
        task: count for task, count in shares.items() if not task_file(config.output, task).exists()
    }
    if not missing:
        return
    done = sum(count for task, count in shares.items() if task not in missing)
    for task in missing:
        done += len(finished_attempts(attempts_folder(config.output, task))[0])
    jobs = [
        (task, count, config.recipe, config.output.resolve(), config.rollout)
        for task, count in missing.items()
    ]
    failed = 0
    with progress_bar(config.episodes, f"{config.suite} demos", "episode", initial=done) as bar:

        def follow(succeeded: bool) -> None:
            nonlocal failed
            failed += not succeeded
            bar.update(int(succeeded))
            bar.set_postfix_str(f"{failed} failed")

        # With a machine of a cluster, all of its workers are lost.
        most_kills = 0 if config.ray is None else MOST_LOST * config.workers
        options = {"workers": config.workers, "place": place, "most_kills": most_kills}
        run_all(make_task, jobs, on_report=follow, **options)


def make_task(
    task: Task,
    count: int,
    recipe: Recipe,
    output: Path,
    rollout: PolicyOptions | None,
    report: Callable[[bool], None],
) -> None:
    """Makes the demonstrations of one task, in a worker; reports whether each attempt succeeded."""
    policy = None
    if rollout is not None:
        options = tuple(rollout.backbone_options.items())
        policy = _load(rollout.policy, rollout.checkpoint, options, task.suite)
    generate(task, count, recipe, output, report, rollout_policy=policy)


@functools.cache
def _load(
    name: str,
    checkpoint: Path | None,
    backbone_options: tuple[tuple[str, BackboneOption], ...],
    suite: str,
) -> PolicyInSimulator:
    # Workers would each reserve a whole accelerator.
    jax.config.update("jax_platforms", "cpu")
    options = PolicyOptions(name, checkpoint, dict(backbone_options))
    return PolicyInSimulator(options.load(suites=(suite,)))


if __name__ == "__main__":
    sys.exit(main())
