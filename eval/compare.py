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
from rfsq_jax.backbones.protocol import BackboneOption
from rfsq_jax.evaluation.analysis.pairs import compare_runs
from rfsq_jax.evaluation.libero import LiberoEvaluation, Outcome
from rfsq_jax.evaluation.play.worker import Videos
from rfsq_jax.evaluation.protocol import Starts
from rfsq_jax.evaluation.settings import LiberoOptions, LiberoSettings
from rfsq_jax.policies.files import FOLDERS, load_policy
from rfsq_jax.runs.claims import hold_folder
from rfsq_jax.runs.commands import command, opened, user_errors
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.results import write_results

COMMAND = "eval.compare"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareConfig(LiberoSettings):
    """Who is compared, and on which episodes.

    Attributes:
      naive: policy with naive tokens.
      robust: policy with robust tokens, strategy A.
      others: further policies, trained on the same features; named by the folder they are in.
      features: the held-out frames for accuracies and errors.
      checkpoint: folder of the backbone's weights, for a backbone that has none of its own.
      backbone_options: further options of the backbone.
    """

    naive: Path = Path("runs/heads/small_naive/policy")
    robust: Path = Path("runs/heads/small/policy")
    others: tuple[Path, ...] = (
        Path("runs/heads/small_bins/policy"),
        Path("runs/heads/small_l1/policy"),
        Path("runs/heads/small_blind/policy"),
    )
    features: Path = Path("runs/features/small")
    checkpoint: Path | None = None
    backbone_options: dict[str, BackboneOption] = dataclasses.field(default_factory=dict)
    suite: tuple[str, ...] = ("libero_spatial", "libero_object")
    trials: int = 5
    starts: Starts = "random"
    video: Videos = "none"
    output: Path = Path("runs/compare")


@command(COMMAND)
def main(argv: Sequence[str] | None = None) -> int:
    """Measures and plays what is missing, prints the tables, writes results.json."""
    config = parse(CompareConfig, argv, command=COMMAND, description=__doc__)
    with opened(COMMAND, hold_folder(config.output)):
        with user_errors(COMMAND):
            contenders = line_up(config)
            figures = {each.name: offline_figures(each, config.features) for each in contenders}
            naive, robust = (load_policy(p) for p in (config.naive, config.robust))
            actions = held_out_actions(config.features)
            evidence = swap_evidence(naive.token_decoder, robust.token_decoder, actions)
        runs: dict[str, dict[str, Any]] = {}
        for contender in contenders:
            print(f"\n{contender.name}", flush=True)
            outcome = play(play_options(config, contender))
            print(outcome, file=sys.stderr if outcome.errors else sys.stdout)
            if outcome.errors:
                return 1
            runs[contender.name] = outcome.figures
        show(config, figures, evidence, runs)
    return 0


def show(
    config: CompareConfig,
    figures: dict[str, dict[str, Any]],
    evidence: dict[str, Any],
    runs: dict[str, dict[str, Any]],
) -> None:
    """Prints the tables; writes results.json."""
    for name, run in runs.items():
        paired = compare_runs(runs[STRATEGY_A], run)
        figures[name]["played"] = table.played_figures(run)
        figures[name]["against_strategy_a"] = {
            key: dataclasses.asdict(pair) for key, pair in paired.items()
        }
    print(table.comparison(figures), table.explanation(evidence), sep="\n\n")
    everything = {"contenders": figures, "swap": evidence}
    print(f"figures: {write_results(config.output, figures=everything, config=config)}")


def line_up(config: CompareConfig) -> list[Contender]:
    """All contenders; writes strategy B's policy.

    Raises:
      FileNotFoundError: if a policy does not exist.
      ValueError: if two have the same name, or strategy B cannot be put together.
    """
    swapped = swap_decoder(config.naive, config.robust, config.output / "strategy_b_policy")
    found = [
        Contender(NAIVE, FOLDERS.find(config.naive), config.naive),
        Contender(STRATEGY_A, FOLDERS.find(config.robust), config.robust),
        Contender(STRATEGY_B, swapped, config.naive),
        *(
            Contender(path.resolve().parent.name, FOLDERS.find(path), path)
            for path in config.others
        ),
    ]
    names = [each.name for each in found]
    if len(set(names)) < len(names):
        raise ValueError(f"others must lie in folders of different names, got {', '.join(names)}")
    return found


def play(options: LiberoOptions) -> Outcome:
    """Plays a contender's missing episodes."""
    with opened(COMMAND, LiberoEvaluation.open(options)) as evaluation:
        return evaluation.run()


def play_options(config: CompareConfig, contender: Contender) -> LiberoOptions:
    """The run of eval.libero that plays a contender."""
    names = [field.name for field in dataclasses.fields(LiberoSettings)]
    settings = {name: getattr(config, name) for name in names}
    settings["output"] = config.output / contender.name.replace(" ", "_")
    return LiberoOptions(
        policy=str(contender.policy),
        checkpoint=config.checkpoint,
        backbone_options=config.backbone_options,
        **settings,
    )


if __name__ == "__main__":
    sys.exit(main())
