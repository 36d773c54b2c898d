"""Trains an action tokenizer on demonstrations and shows what its tokens are worth.

python -m train.ae --config configs/robust.py
python -m train.ae --config configs/ordered.py
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.data.episodes import Episode, chunk_episodes, split_episodes
from rfsq_jax.libero.demonstrations.bundled import load_bundled
from rfsq_jax.rfsq import CONDITIONING_NAMES
from rfsq_jax.runs.claims import claim_folder, hold_folder
from rfsq_jax.runs.commands import command, opened, user_errors
from rfsq_jax.runs.options import parse_training
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.terminal import progress_bar
from rfsq_jax.tokenizers import ActionTokenizer
from rfsq_jax.tokenizers.ordered.tokenizer import OrderedTokenizer
from rfsq_jax.tokenizers.step import StepTokenizer
from rfsq_jax.training.autoencoder import report
from rfsq_jax.training.autoencoder import training as trainer
from rfsq_jax.training.autoencoder.run import AutoencoderRun
from rfsq_jax.training.autoencoder.training import TrainingConfig
from rfsq_jax.training.loop import recorded
from rfsq_jax.training.ordered import fitting
from rfsq_jax.training.ordered import report as ordered_report
from rfsq_jax.training.ordered import training as ordered_trainer
from rfsq_jax.training.ordered.run import OrderedRun

COMMAND = "train.ae"
PICTURE = "tokenizer.png"


@dataclasses.dataclass(frozen=True)
class Demonstrations:
    """Chunks of the two halves of the split, in robot units, and one episode to plot."""

    train: Float[np.ndarray, "m t a"]
    held_out: Float[np.ndarray, "h t a"]
    shown: Episode


def load_demonstrations(config: AutoencoderRun | OrderedRun) -> Demonstrations:
    """Splits the suites' episodes and cuts both parts into chunks."""
    episodes = [episode for suite in config.suites for episode in load_bundled(suite)]
    train, held_out = split_episodes(episodes, config.held_out, config.training.loop.seed)
    chunks = [chunk_episodes(part, config.horizon) for part in (train, held_out)]
    return Demonstrations(*chunks, shown=held_out[0])


def train_tokenizer(
    training: TrainingConfig, folder: Path, data: Demonstrations, mesh: Mesh
) -> StepTokenizer:
    """Trains or resumes in `folder` and writes `folder/tokenizer`."""
    space = ActionSpace.fit(data.train)
    train, held_out = map(space.normalization.normalize, (data.train, data.held_out))
    name = CONDITIONING_NAMES[training.model.rfsq.conditioning]
    with recorded(folder, trainer.BEST_METRIC) as (checkpoints, writer):
        params, state = trainer.train(
            training,
            train,
            held_out,
            spec=space.spec,
            mesh=mesh,
            description=name,
            checkpoints=checkpoints,
            writer=writer,
        )
    tokenizer = StepTokenizer(training.model, params, state, space)
    tokenizer.save_pretrained(folder / "tokenizer")
    return tokenizer


def train_all(config: AutoencoderRun, data: Demonstrations, mesh: Mesh) -> dict[str, StepTokenizer]:
    """Trains the baseline, if any, and the tokenizer itself, by name."""
    tokenizers = {}
    if config.against is not None:
        name, model = CONDITIONING_NAMES[config.against], config.training.model
        quantizer = dataclasses.replace(model.rfsq, conditioning=config.against)
        model = dataclasses.replace(model, rfsq=quantizer)
        training = dataclasses.replace(config.training, model=model)
        tokenizers[name] = train_tokenizer(training, config.output / name, data, mesh)
    tokenizers[config.name] = train_tokenizer(config.training, config.output, data, mesh)
    return tokenizers


def show(
    config: AutoencoderRun, tokenizers: dict[str, StepTokenizer], data: Demonstrations
) -> None:
    """Prints the table and the gates; writes results.json and the picture."""
    figures = {
        name: report.measure(tokenizer, data.held_out, data.train)
        for name, tokenizer in tokenizers.items()
    }
    baseline = None if config.against is None else figures[CONDITIONING_NAMES[config.against]]
    gates = report.gates(figures[config.name], baseline)
    print(report.table(figures))
    for gate, passed in gates.items():
        print(f"{'pass' if passed else 'FAIL'}  {gate}")
    report.plot(config.output / PICTURE, figures, tokenizers, data.shown.actions)
    results = write_results(config.output, figures={**figures, "gates": gates}, config=config)
    print_places(config.output, results)


def train_ordered(config: OrderedRun, data: Demonstrations, mesh: Mesh) -> OrderedTokenizer:
    """Trains or resumes in the run's folder and writes `tokenizer` there."""
    space = ActionSpace.fit(data.train)
    with recorded(config.output, ordered_trainer.BEST_METRIC) as (checkpoints, writer):
        tokenizer = fitting.fit(
            space,
            data.train,
            data.held_out,
            num_tokens=config.num_tokens,
            training=config.training,
            dense=config.dense,
            synthetic=config.synthetic,
            mesh=mesh,
            description=OrderedTokenizer.kind,
            checkpoints=checkpoints,
            writer=writer,
        )
    tokenizer.save_pretrained(config.output / "tokenizer")
    return tokenizer


def show_ordered(config: OrderedRun, tokenizer: OrderedTokenizer, data: Demonstrations) -> None:
    """Measures it and others, prints the tables, writes results.json and the picture."""
    name, space = OrderedTokenizer.kind, tokenizer.space
    measured: dict[str, ActionTokenizer] = {name: tokenizer}
    for other, folder in config.beside:
        if Path(folder).is_dir():
            measured[other] = ActionTokenizer.from_pretrained(folder)
    measured |= dict(ordered_report.others(space, data.train, config.fast_scales))
    curves = {}
    with progress_bar(len(measured), "measuring", "tokenizer") as bar:
        for key, each in measured.items():
            curves[key] = ordered_report.measure(each, data.held_out, space)
            bar.update(1)
    print(ordered_report.table(curves, name), ordered_report.ratio_table(curves, name), sep="\n\n")
    picture = config.output / PICTURE
    ordered_report.plot(picture, curves, name, tokenizer, data.shown.actions)
    figures = ordered_report.figures(curves, name)
    print_places(config.output, write_results(config.output, figures=figures, config=config))


def print_places(output: Path, results: Path) -> None:
    """Says where everything is."""
    print(f"picture: {output / PICTURE}")
    print(f"figures: {results}")
    print(f"tokenizer: {output / 'tokenizer'}")


@command(COMMAND)
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command."""
    kinds = (AutoencoderRun, OrderedRun)
    config, machines = parse_training(kinds, argv, command=COMMAND, description=__doc__)
    if isinstance(config, AutoencoderRun) and config.against == config.conditioning:
        config = dataclasses.replace(config, against=None)
    with machines.joined(COMMAND) as mesh, opened(COMMAND, hold_folder(config.output)):
        with user_errors(COMMAND):
            data = load_demonstrations(config)
            claim_folder(config.output, dataclasses.asdict(config))
        if isinstance(config, OrderedRun):
            show_ordered(config, train_ordered(config, data, mesh), data)
        else:
            show(config, train_all(config, data, mesh), data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
