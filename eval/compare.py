"""What is gained by which upgrade? Plays all contenders on the same episodes, prints one table.

    python -m eval.compare

Naive tokens, strategy A (all retrained on robust tokens), strategy B (heads trained on naive
tokens, robust decoder), 256 bins, the L1 head and the blind control: same backbone, features,
training budget and episodes. The policies are those of configs/small*.py. Random placements by
default; a killed run goes on when the same command is given again.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval import libero
from eval.libero_pair import compare_runs, read_run
from eval.studies import compare_table as table
from eval.studies.contenders import (
    NAIVE,
    STRATEGY_A,
    STRATEGY_B,
    Contender,
    held_out_actions,
    offline_figures,
    swap_decoder,
    swap_evidence,
)
from rfsq_jax.evaluation.protocol import Starts
from rfsq_jax.policies.files import load_policy, resolve
from rfsq_jax.runs.checks import require_positive
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.results import write_results


@dataclasses.dataclass(frozen=True)
class CompareConfig:
    """Options of eval.compare.

    Attributes:
      naive: policy with naive tokens.
      robust: policy with robust tokens, strategy A.
      others: further policies, trained on the same features; named by the folder they are in.
      features: the held-out frames for accuracies and errors.
      suite: suites that are played.
      tasks: indices of the tasks of each suite; all by default.
      trials: episodes per task and contender.
      starts: official initial states, for reporting, or random placements, for choosing.
      placement_margin: metres by which the regions of random placements grow on all sides.
      seed: of random placements.
      workers: simulator processes.
      output: the run's folder; the same command resumes there.
    """

    naive: Path = Path("runs/heads/small_naive/policy")
    robust: Path = Path("runs/heads/small/policy")
    others: tuple[Path, ...] = (
        Path("runs/heads/small_bins/policy"),
        Path("runs/heads/small_l1/policy"),
        Path("runs/heads/small_blind/policy"),
    )
    features: Path = Path("runs/features/small")
    suite: tuple[str, ...] = ("libero_spatial", "libero_object")
    tasks: tuple[int, ...] = ()
    trials: int = 5
    starts: Starts = "random"
    placement_margin: float = 0.05
    seed: int = 0
    workers: int = 2
    output: Path = Path("runs/compare")

    def __post_init__(self) -> None:
        require_positive(self, "trials", "workers")


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and plays what is missing, prints the tables, writes results.json."""
    config = parse(CompareConfig, argv, description=(__doc__ or "").split("\n\n")[0])
    try:
        contenders = line_up(config)
        figures = {each.name: offline_figures(each, config.features) for each in contenders}
        evidence = explain_swap(config)
    except (FileNotFoundError, ValueError) as error:
        print(f"eval.compare: {error}", file=sys.stderr)
        return 1
    for contender in contenders:
        print(f"\n{contender.name}", flush=True)
        if libero.main(play_options(config, contender)):
            return 1
    first = read_run(play_folder(config, STRATEGY_A))
    for contender in contenders:
        played = read_run(play_folder(config, contender.name))
        figures[contender.name]["played"] = table.played_figures(played)
        paired = compare_runs(first, played)
        figures[contender.name]["against_strategy_a"] = {
            name: pair._asdict() for name, pair in paired.items()
        }
    print(table.comparison(figures), table.explanation(evidence), sep="\n\n")
    everything = {"contenders": figures, "swap": evidence}
    print(f"figures: {write_results(config.output, figures=everything, config=config)}")
    return 0


def line_up(config: CompareConfig) -> list[Contender]:
    """All contenders; writes strategy B's policy.

    Raises:
      FileNotFoundError: if a policy does not exist.
      ValueError: if two have the same name, or strategy B cannot be put together.
    """
    swapped = swap_decoder(config.naive, config.robust, config.output / "strategy_b_policy")
    found = [
        Contender(NAIVE, resolve(config.naive), config.naive),
        Contender(STRATEGY_A, resolve(config.robust), config.robust),
        Contender(STRATEGY_B, swapped, config.naive),
        *(Contender(path.resolve().parent.name, resolve(path), path) for path in config.others),
    ]
    names = [each.name for each in found]
    if len(set(names)) < len(names):
        raise ValueError(f"others must lie in folders of different names, got {', '.join(names)}")
    return found


def explain_swap(config: CompareConfig) -> dict[str, Any]:
    """Why strategy B works or not, on the held-out chunks."""
    naive, robust = (load_policy(resolve(p)).token_decoder for p in (config.naive, config.robust))
    return swap_evidence(naive, robust, held_out_actions(config.features))


def play_folder(config: CompareConfig, name: str) -> Path:
    """Where a contender's episodes are."""
    return config.output / name.replace(" ", "_")


def play_options(config: CompareConfig, contender: Contender) -> list[str]:
    """The options of eval.libero."""
    options = ["--policy", str(contender.policy), "--suite", *config.suite]
    if config.tasks:
        options += ["--tasks", *map(str, config.tasks)]
    for name in ("trials", "starts", "placement_margin", "seed", "workers"):
        options += [f"--{name.replace('_', '-')}", str(getattr(config, name))]
    return [*options, "--video", "none", "--output", str(play_folder(config, contender.name))]


if __name__ == "__main__":
    sys.exit(main())
