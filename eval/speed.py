"""Measures training and coding speed: robust against naive, and both against eager PyTorch.

    python -m eval.speed

Everything runs interleaved, in rounds, and ratios are taken within a round. PyTorch
is measured where it is installed.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from eval.benchmarks.timing import Spread, Work, busy_note, rate, ratio, repeated, take_turns
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.data.action_spec import LIBERO
from rfsq_jax.data.episodes import HORIZON
from rfsq_jax.parallel import sharding
from rfsq_jax.rfsq import Conditioning, RFSQConfig
from rfsq_jax.runs.checks import require_positive
from rfsq_jax.runs.commands import STARTS_AGAIN, command
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.terminal import format_table, progress_bar
from rfsq_jax.tokenizers import autoencoder
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.tokenizers.step import StepTokenizer
from rfsq_jax.training.autoencoder.training import TrainingConfig, initial_state, make_update
from rfsq_jax.training.loop import steps_runner

NAIVE, ROBUST = "rfsq_jax naive", "rfsq_jax robust"
TORCH_NAIVE, TORCH_ROBUST = "PyTorch naive", "PyTorch robust"
LARGEST_OVERHEAD = 1.05

COMMAND = "eval.speed"


@dataclasses.dataclass(frozen=True)
class SpeedConfig:
    """How long and at what shape.

    Attributes:
      output: folder of results.json.
      rounds: how often every contestant takes its turn.
      steps: training steps of rfsq_jax in one turn, all in one dispatch.
      torch_steps: training steps of PyTorch in one turn.
      batch_size: chunks in a training step.
      calls: calls in one turn when single chunks are coded.
      large_batch: chunks in one call when many are coded.
    """

    output: Path = Path("runs/speed")
    rounds: int = 30
    steps: int = 250
    torch_steps: int = 30
    batch_size: int = 64
    calls: int = 100
    large_batch: int = 4096

    def __post_init__(self) -> None:
        require_types(self)
        fields = {field.name for field in dataclasses.fields(self)}
        require_positive(self, *sorted(fields - {"output"}))


@command(COMMAND, STARTS_AGAIN)
def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the tables and writes results.json."""
    config = parse(SpeedConfig, argv, command=COMMAND, description=__doc__)
    device, note = torch_device(), busy_note()
    # Random actions: no contestant's speed depends on the values.
    shape = (max(config.large_batch, 64), HORIZON, 7)
    chunks = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    groups = {"training": training_contestants(config, chunks, device)}
    for many, count, repeats in (("1 chunk", 1, config.calls), ("many", len(chunks), 1)):
        coding = coding_contestants(chunks[:count], repeats, device)
        groups[f"encode {many}"] = {name: encode for name, (encode, _) in coding.items()}
        groups[f"decode {many}"] = {name: decode for name, (_, decode) in coding.items()}
    with progress_bar(len(groups) * config.rounds, "timing", "round") as bar:
        seconds = {
            group: take_turns(contestants, config.rounds, bar.update)
            for group, contestants in groups.items()
        }
    print(
        f"jax on {jax.default_backend()}; PyTorch {f'on {device}' if device else 'not installed'}"
    )
    print(training_table(seconds["training"]), coding_table(seconds, len(chunks)), sep="\n\n")
    print(f"\n{verdict(seconds['training'])}", note, sep="\n" if note else "")
    write_results(config.output, figures=figures(seconds, len(chunks), device), config=config)
    return 0


def torch_device() -> str | None:
    """Where PyTorch runs: on a GPU if jax does too; None if it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch  # pyright: ignore[reportMissingImports]  # an optional extra

    return "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"


def training_contestants(
    config: SpeedConfig, chunks: Float[np.ndarray, "m t 7"], device: str | None
) -> dict[str, Work]:
    """The training steps to time: the default recipe of train.ae, and the reference's loop."""
    contestants = {
        NAIVE: training_work(config, "none", chunks),
        ROBUST: training_work(config, "layernorm", chunks),
    }
    if device is not None:
        from eval.benchmarks import torch_reference as reference

        for name, robust in ((TORCH_NAIVE, False), (TORCH_ROBUST, True)):
            contestants[name] = reference.training_work(
                robust, chunks, config.batch_size, config.torch_steps, device
            )
    return contestants


def training_work(
    config: SpeedConfig, conditioning: Conditioning, chunks: Float[np.ndarray, "m t 7"]
) -> Work:
    """Returns a function that takes `config.steps` steps in one dispatch."""
    model = AutoencoderConfig(rfsq=RFSQConfig(conditioning=conditioning))
    training = TrainingConfig(model=model, batch_size=config.batch_size)
    mesh = sharding.make_mesh(data=len(jax.devices()))
    state = sharding.place(initial_state(training, chunks), mesh, sharding.REPLICATED)
    data = sharding.place(chunks, mesh, sharding.REPLICATED)
    run = steps_runner(make_update(training, LIBERO, mesh), config.steps)
    key = jax.random.key_data(jax.random.key(0))

    def work() -> int:
        nonlocal state
        state, metrics = run(state, data, key)
        jax.block_until_ready((state, metrics))
        return config.steps

    return work


def coding_contestants(
    chunks: Float[np.ndarray, "m t 7"], repeats: int, device: str | None
) -> dict[str, tuple[Work, Work]]:
    """Encode and decode, numpy to numpy."""
    contestants = {ROBUST: coding_work(chunks, repeats)}
    if device is not None:
        from eval.benchmarks import torch_reference as reference

        contestants[TORCH_ROBUST] = reference.coding_work(chunks, repeats, device)
    return contestants


def coding_work(chunks: Float[np.ndarray, "m t 7"], repeats: int) -> tuple[Work, Work]:
    """Returns functions that encode and decode the chunks `repeats` times."""
    model = AutoencoderConfig()
    params, state = autoencoder.init(model, jax.random.key(0))
    tokenizer = StepTokenizer(model, params, state, ActionSpace.fit(chunks))
    codes = tokenizer.encode(chunks)

    encode = repeated(lambda: tokenizer.encode(chunks), repeats)
    return encode, repeated(lambda: tokenizer.decode(codes), repeats)


def training_table(seconds: dict[str, list[float]]) -> str:
    """Steps per second, and time against ours."""
    rows = [
        [
            name,
            str(rate(values)),
            str(ratio(values, seconds[NAIVE])),
            str(ratio(values, seconds[ROBUST])),
        ]
        for name, values in seconds.items()
    ]
    header = ["training", "steps/s", "time / naive", "time / robust"]
    return format_table(header, rows) + "\nmedian (min to max) over rounds"


def coding_table(seconds: dict[str, dict[str, list[float]]], large: int) -> str:
    """Microseconds for one chunk, chunks per second for many, and time against ours."""
    rows = []
    for group in (group for group in seconds if group != "training"):
        chunks = large if group.endswith("many") else 1
        for name, values in seconds[group].items():
            per_chunk = [value / chunks for value in values]
            rows.append([f"{group}, {name}", str(Spread.of([1e6 * each for each in per_chunk])),
                         f"{rate(per_chunk).median:,.0f}",
                         str(ratio(values, seconds[group][ROBUST]))])  # fmt: skip
    return format_table(["coding, numpy to numpy", "us/chunk", "chunks/s", "time / ours"], rows)


def verdict(seconds: dict[str, list[float]]) -> str:
    """Says whether robust costs no more than it may."""
    overhead = ratio(seconds[ROBUST], seconds[NAIVE])
    passed = "pass" if overhead.median <= LARGEST_OVERHEAD else "FAIL"
    return (
        f"{passed}  a robust step takes {overhead} naive steps, at most {LARGEST_OVERHEAD} allowed"
    )


def figures(
    seconds: dict[str, dict[str, list[float]]], large: int, device: str | None
) -> dict[str, Any]:
    """What results.json keeps: seconds per step, call or large batch, and the ratios."""
    training = seconds["training"]
    against = {
        f"{name} / {ROBUST}": dataclasses.asdict(ratio(values, training[ROBUST]))
        for name, values in training.items()
    }
    return {
        "jax_backend": jax.default_backend(),
        "torch_device": device,
        "large_batch": large,
        "seconds": seconds,
        "robust_over_naive": dataclasses.asdict(ratio(training[ROBUST], training[NAIVE])),
        "time_over_robust": against,
    }


if __name__ == "__main__":
    sys.exit(main())
