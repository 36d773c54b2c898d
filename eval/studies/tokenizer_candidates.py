"""The tokenizers of one comparison, and the row of figures that each of them earns."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from eval.benchmarks.timing import fastest
from eval.studies.token_statistics import (
    TokenStatistics,
    adjacency,
    code_statistics,
    sequence_statistics,
)
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.data.episodes import HORIZON, Episode, episode_chunks, split_episodes
from rfsq_jax.data.errors import reconstruction_errors
from rfsq_jax.data.readers.recorded_actions import ActionSequence, read_actions
from rfsq_jax.libero.demonstrations.bundled import load_bundled
from rfsq_jax.rfsq import CONDITIONING_NAMES, Conditioning, RFSQConfig
from rfsq_jax.runs.checks import MAX_SIZE, require, require_positive, require_range, require_seed
from rfsq_jax.runs.records import require_types
from rfsq_jax.tokenizers import ActionTokenizer
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.tokenizers.bins import BinTokenizer
from rfsq_jax.tokenizers.fast import FastTokenizer
from rfsq_jax.tokenizers.fast_transform import to_coefficients
from rfsq_jax.tokenizers.step import StepTokenizer
from rfsq_jax.training.autoencoder.training import TrainingConfig
from rfsq_jax.training.loop import LoopConfig

BUNDLED = "libero"


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
        require_types(self)
        require_positive(self, "fast_vocab", "steps")
        require_range(self, 2, MAX_SIZE, "num_bins")
        require_range(self, 1, MAX_SIZE, "horizon")
        require_seed(self)
        positive = all(scale > 0 for scale in self.fast_scales)
        require(positive, "fast_scales", "above 0", self.fast_scales)
        require(0 < self.held_out < 1, "held_out", "in (0, 1)", self.held_out)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A fitted tokenizer.

    Attributes:
      name: what the table calls it.
      family: what the plot groups it under.
      tokenizer: of any kind.
    """

    name: str
    family: str
    tokenizer: ActionTokenizer


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What every candidate is measured on.

    Attributes:
      chunks: float32 [B, T, A], robot units, every window of every held-out episode in order.
      adjacent: bool [B - 1], whether chunk i + 1 starts one step after chunk i.
      space: of the training episodes; gives the unit of the normalised errors.
    """

    chunks: Float[np.ndarray, "b t a"]
    adjacent: Bool[np.ndarray, " pairs"]
    space: ActionSpace


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table; `layers` counts the residual layers decoded, None without any."""

    name: str
    family: str
    layers: int | None
    tokens: float
    bits: float
    errors: dict[str, float]
    statistics: TokenStatistics
    encode_us: float


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


def measure(candidate: Candidate, held_out: HeldOut) -> Iterator[Row]:
    """Yields the row of a tokenizer, and for residual codes one for every prefix of layers."""
    chunks, tokenizer = held_out.chunks, candidate.tokenizer
    tokens = tokenizer.encode(chunks)
    encode_us = 1e6 * fastest(lambda: tokenizer.encode(chunks)) / len(chunks)

    def row(name: str, layers: int | None, some: Any, length: float, found: TokenStatistics) -> Row:
        bits = length * float(np.log2(tokenizer.vocab_size))
        decoded = np.asarray(tokenizer.decode(some))
        errors = reconstruction_errors(chunks, decoded, held_out.space)
        return Row(name, candidate.family, layers, length, bits, errors, found, encode_us)

    if isinstance(tokens, list):
        length = float(np.mean([len(ids) for ids in tokens]))
        found = sequence_statistics(tokens, held_out.adjacent)
        yield row(candidate.name, None, tokens, length, found)
        return
    codes = np.asarray(tokens)
    if codes.ndim == chunks.ndim:
        found = code_statistics(codes[..., None], held_out.adjacent)
        yield row(candidate.name, None, codes, float(np.prod(codes.shape[1:])), found)
        return
    for layers in range(1, codes.shape[-1] + 1):
        prefix = codes[..., :layers]
        name = f"{candidate.name} {layers}/{codes.shape[-1]}"
        found = code_statistics(prefix, held_out.adjacent)
        yield row(name, layers, prefix, float(np.prod(prefix.shape[1:])), found)
