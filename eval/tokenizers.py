"""Compares action tokenizers on held-out episodes, at their bits and tokens per chunk.

    python -m eval.tokenizers
    python -m eval.tokenizers --actions my_demonstrations.hdf5 --runs runs/ae/naive runs/ae/robust

Measured: 256 bins, FAST at several scales, and naive, scale and robust RFSQ with every prefix of
their layers. RFSQ tokenizers come from `--runs`; robust is the bundled one unless other actions are
given; what is still missing is trained here, on the same episodes as the rest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from eval.studies.token_statistics import adjacency
from eval.studies.tokenizer_candidates import Candidate, HeldOut, Row, measure
from eval.studies.tokenizer_figure import draw
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.data.chunks import HORIZON, episode_chunks
from rfsq_jax.data.episodes import Episode
from rfsq_jax.data.readers.recorded_actions import ActionSequence, read_actions
from rfsq_jax.data.splits import split_episodes
from rfsq_jax.libero.demonstrations.bundled import load_bundled
from rfsq_jax.rfsq import CONDITIONING_NAMES, Conditioning, RFSQConfig
from rfsq_jax.runs.checks import require_positive
from rfsq_jax.runs.files import atomic_path
from rfsq_jax.runs.options import parse, user_errors
from rfsq_jax.runs.progress import progress_bar
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.tables import format_table
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.tokenizers.bins import BinTokenizer
from rfsq_jax.tokenizers.fast import FastTokenizer, to_coefficients
from rfsq_jax.tokenizers.protocol import ActionTokenizer
from rfsq_jax.tokenizers.step import StepTokenizer
from rfsq_jax.training.autoencoder.training import TrainingConfig
from rfsq_jax.training.loop import LoopConfig

COMMAND = "eval.tokenizers"
BUNDLED = "libero"
HEADER = (
    "tokenizer", "tokens", "bits", "entropy", "MSE", "max", "mm", "deg", "flips", "overlap", "live",
    "levels", "encode",
)  # fmt: skip
LEGEND = """\
bits: per chunk, every token at log2(vocabulary). entropy: bits if each token cost its entropy.
MSE, max: normalised actions. mm, deg: mean error per step. flips: wrong gripper signs.
overlap: tokens that stay one step on; live: the same without constant tokens.
levels: mean perplexity of a layer. encode: microseconds per chunk, in one batch."""


@dataclasses.dataclass(frozen=True)
class TokenizersConfig:
    """What is compared, on what.

    Attributes:
      actions: NPZ or LIBERO HDF5 file of demonstrations; the bundled ones by default.
      suites: whose bundled demonstrations, as train.ae names them.
      output: folder of results.json, tokenizers.png and the tokenizers trained here.
      runs: RFSQ tokenizers to measure: bundled names, or folders of train.ae or `save_pretrained`.
      fast_scales: coefficients per unit of normalised action, one FAST tokenizer each.
      fast_vocab: ids of each FAST tokenizer.
      num_bins: bins per value.
      steps: training steps of an RFSQ tokenizer trained here.
      horizon: steps T of a chunk.
      held_out: share of episodes held out.
      seed: of the split and of training.
    """

    actions: Path | None = None
    suites: tuple[str, ...] = ("libero_spatial", "libero_object")
    output: Path = Path("runs/tokenizers")
    runs: tuple[str, ...] = ()
    fast_scales: tuple[float, ...] = (2.0, 4.0, 10.0, 20.0, 40.0)
    fast_vocab: int = 1024
    num_bins: int = 256
    steps: int = 20_000
    horizon: int = HORIZON
    held_out: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        require_positive(self, "fast_vocab", "steps", "horizon")


def main(argv: Sequence[str] | None = None) -> int:
    """Measures every tokenizer, prints the table, writes results.json and the picture."""
    config = parse(TokenizersConfig, argv, command=COMMAND, description=__doc__)
    with user_errors(COMMAND):
        run(config)
    return 0


def run(config: TokenizersConfig) -> list[Row]:
    """Does what `main` does, for a config, and returns the rows."""
    train, held_out = load_chunks(config)
    candidates = [*baselines(config, train), *residual(config, train)]
    rows: list[Row] = []
    with progress_bar(len(candidates), "measuring", "tokenizer") as bar:
        for candidate in candidates:
            rows += measure(candidate, held_out)
            bar.update(1)
    print(f"{len(held_out.chunks)} held-out chunks of {config.horizon} steps")
    print(format_table(HEADER, [table_row(row) for row in rows]), LEGEND, sep="\n\n")
    figures = {
        "train_chunks": len(train),
        "held_out_chunks": len(held_out.chunks),
        "fast_clipped_chunks": clipped_chunks(candidates, held_out),
        "tokenizers": [dataclasses.asdict(row) for row in rows],
    }
    with atomic_path(config.output / "tokenizers.png") as picture:
        draw(rows, picture)
    write_results(config.output, figures=figures, config=config)
    return rows


def load_chunks(config: TokenizersConfig) -> tuple[Float[np.ndarray, "m t a"], HeldOut]:
    """Returns training chunks and what is held out; the split is by episode, as train.ae's is.

    Raises:
      ValueError: if either part has no episode long enough.
    """
    train, held_out = split_episodes(load_episodes(config), config.held_out, config.seed)
    parts = [
        [episode_chunks(e.actions, config.horizon) for e in part] for part in (train, held_out)
    ]
    for name, part in zip(("training", "held-out"), parts, strict=True):
        if not any(len(chunks) > 1 for chunks in part):
            need = f"a {name} episode of more than {config.horizon} steps"
            raise ValueError(f"expected {need}, got {len(part)} that are shorter")
    chunks = np.concatenate(parts[0])
    adjacent = adjacency([len(chunks) for chunks in parts[1]])
    return chunks, HeldOut(np.concatenate(parts[1]), adjacent, ActionSpace.fit(chunks))


def load_episodes(config: TokenizersConfig) -> list[ActionSequence] | list[Episode]:
    """Returns the episodes of the file, or the bundled ones."""
    if config.actions is not None:
        return read_actions(config.actions)
    return [episode for suite in config.suites for episode in load_bundled(suite)]


def baselines(config: TokenizersConfig, chunks: Float[np.ndarray, "m t a"]) -> Iterator[Candidate]:
    """Yields uniform bins and FAST, fitted to the training chunks."""
    bins = BinTokenizer.fit(chunks, num_bins=config.num_bins)
    yield Candidate(f"{config.num_bins} bins", "bins", bins)
    for scale in config.fast_scales:
        options = {"scale": scale, "vocab_size": config.fast_vocab, "clip_coefficients": True}
        fast = FastTokenizer.fit(chunks, **options)
        yield Candidate(f"FAST, scale {scale:g}", "FAST", fast)


def residual(config: TokenizersConfig, chunks: Float[np.ndarray, "m t a"]) -> Iterator[Candidate]:
    """Yields the RFSQ tokenizers: those of `runs`, then of every missing conditioning one."""
    runs = (*config.runs, BUNDLED) if config.actions is None else config.runs
    found: dict[str, ActionTokenizer] = {}
    for run_name in runs:
        inside = Path(run_name) / "tokenizer"
        tokenizer = ActionTokenizer.from_pretrained(inside if inside.is_dir() else run_name)
        if tokenizer.horizon != config.horizon:
            raise ValueError(
                f"{run_name} has horizon {tokenizer.horizon}, expected {config.horizon}"
            )
        name = name_of(tokenizer)
        name = f"{name} ({Path(run_name).name})" if name in found else name
        if name in found:
            raise ValueError(f"runs must have different names, got two called {name!r}")
        found[name] = tokenizer
    for conditioning, name in CONDITIONING_NAMES.items():
        if name not in found:
            found[name] = trained(config, conditioning, chunks)
    for name in sorted(
        found, key=list(dict.fromkeys([*CONDITIONING_NAMES.values(), *found])).index
    ):
        yield Candidate(name, name, found[name])


def name_of(tokenizer: ActionTokenizer) -> str:
    """What the table calls it: RFSQ by its conditioning, others by their kind."""
    if isinstance(tokenizer, StepTokenizer):
        return CONDITIONING_NAMES[tokenizer.config.rfsq.conditioning]
    return tokenizer.kind


def trained(
    config: TokenizersConfig, conditioning: Conditioning, chunks: Float[np.ndarray, "m t a"]
) -> ActionTokenizer:
    """Trains a tokenizer, or loads it if an earlier run trained it on the same data and recipe."""
    loop = LoopConfig(config.steps, min(500, config.steps), config.steps, config.seed)
    model = AutoencoderConfig(rfsq=RFSQConfig(conditioning=conditioning))
    training = TrainingConfig(model=model, loop=loop)
    recipe = json.dumps(dataclasses.asdict(training)).encode() + chunks.tobytes()
    digest = hashlib.sha256(recipe).hexdigest()[:12]
    folder = config.output / "trained" / f"{CONDITIONING_NAMES[conditioning]}-{digest}"
    if folder.is_dir():
        return ActionTokenizer.from_pretrained(folder)
    tokenizer = StepTokenizer.fit(chunks, training=training)
    tokenizer.save_pretrained(folder)
    return tokenizer


def clipped_chunks(candidates: Sequence[Candidate], held_out: HeldOut) -> dict[str, int]:
    """How many held-out chunks hold a coefficient that a FAST alphabet lacks, by tokenizer."""
    counts: dict[str, int] = {}
    for candidate in candidates:
        if isinstance(fast := candidate.tokenizer, FastTokenizer):
            low, high = fast.coefficient_range
            found = to_coefficients(fast.normalization.normalize(held_out.chunks), fast.scale)
            counts[candidate.name] = int(((found < low) | (found > high)).any(axis=(1, 2)).sum())
    return counts


def table_row(row: Row) -> list[str]:
    """Returns the cells of one line."""
    errors, statistics = row.errors, row.statistics
    return [
        row.name,
        f"{row.tokens:.4g}",
        f"{row.bits:.0f}",
        f"{statistics.entropy_bits:.0f}",
        f"{errors['mse']:.2e}",
        f"{errors['max_error']:.3f}",
        *(_cell(errors, name) for name in ("translation_mm", "rotation_deg", "gripper_flips")),
        f"{statistics.overlap:.1%}",
        f"{statistics.live_overlap:.1%}",
        f"{np.mean(statistics.perplexity):.4g}",
        f"{row.encode_us:.1f}",
    ]


def _cell(errors: dict[str, float], name: str) -> str:
    """A figure that robots without such dims do not have."""
    if name not in errors:
        return "-"
    return f"{errors[name]:.2%}" if name == "gripper_flips" else f"{errors[name]:.3f}"


if __name__ == "__main__":
    sys.exit(main())
