"""The tokenizers of one comparison: those that are given, and those that are fitted here.

Axes: M training chunks · T steps · A action dims.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eval.studies.report_card.config import STEP_NAMES, UNIVERSAL, TokenizersConfig
from eval.studies.report_card.processor import ProcessorTokenizer, is_processor
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.rfsq import CONDITIONING_NAMES, RFSQConfig
from rfsq_jax.runs.checks import require
from rfsq_jax.tokenizers import ActionTokenizer
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.tokenizers.fast import FastTokenizer
from rfsq_jax.tokenizers.fast_transform import to_coefficients
from rfsq_jax.tokenizers.step import StepTokenizer
from rfsq_jax.training.autoencoder.training import TrainingConfig
from rfsq_jax.training.loop import LoopConfig

Chunks = Float[np.ndarray, "m t a"]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A tokenizer to be measured.

    Attributes:
      name: what the tables call it; those that differ in their seed only share it.
      family: what the picture groups it under.
      seed: of its training, None where nothing is random.
      make: loads or fits it.
    """

    name: str
    family: str
    seed: int | None
    make: Callable[[], ActionTokenizer]


def given(config: TokenizersConfig, chunks: Chunks) -> list[Candidate]:
    """Loads those of `--tokenizers` that have the horizon of these training chunks.

    Raises:
      FileNotFoundError, ValueError: if one cannot be loaded, has another number of dims, or a
        horizon that is not compared at all.
    """
    found: dict[str, Candidate] = {}
    for source in config.tokenizers:
        tokenizer = _load(source, config, chunks)
        dims, horizon = chunks.shape[2], tokenizer.horizon
        got = f"{tokenizer.action_dim} in {source}"
        require(tokenizer.action_dim == dims, "dims of a tokenizer", f"{dims} as the data's", got)
        known = f"one of {list(config.horizon)}, those compared"
        require(horizon in config.horizon, f"horizon of {source}", known, horizon)
        name = _free_name(name_of(tokenizer), source, found)
        if horizon == chunks.shape[1]:
            found[name] = Candidate(name, name, None, lambda tokenizer=tokenizer: tokenizer)
    return list(found.values())


def fitted(config: TokenizersConfig, chunks: Chunks) -> Iterator[Candidate]:
    """Yields those of `--fit`; each is fitted when it is made, or loaded if it was before."""

    def candidate(name: str, family: str, seed: int | None, options: dict[str, Any]) -> Candidate:
        return Candidate(name, family, seed, lambda: fit_once(config.output, chunks, options))

    for name in config.fit:
        if name == "bins":
            options = {"kind": name, "num_bins": config.num_bins}
            yield candidate(f"{config.num_bins} bins", name, None, options)
        elif name == "fast":
            for scale in config.fast_scales:
                options = {"scale": scale, "vocab_size": config.fast_vocab}
                options |= {"kind": name, "clip_coefficients": True}
                yield candidate(f"FAST, scale {scale:g}", "FAST", None, options)
        elif name == UNIVERSAL:
            yield candidate(name, name, None, {"kind": "ordered", "dense": False})
        else:
            for seed in config.seeds:
                options = _training(name, seed, config, chunks.shape[2])
                yield candidate(name, name, seed, options)


def fit_once(folder: Path, chunks: Chunks, options: dict[str, Any]) -> ActionTokenizer:
    """Fits a tokenizer, or loads what an earlier run fitted to the same chunks in the same way."""
    recipe = json.dumps([options, chunks.shape], default=dataclasses.asdict)
    digest = hashlib.sha256(recipe.encode() + chunks.tobytes()).hexdigest()[:12]
    path = folder / "trained" / f"{options['kind']}-{digest}"
    if path.is_dir():
        return ActionTokenizer.from_pretrained(path)
    tokenizer = ActionTokenizer.fit(chunks, **options)
    tokenizer.save_pretrained(path)
    return tokenizer


def clipped_chunks(
    name: str, tokenizer: ActionTokenizer, chunks: Float[np.ndarray, "b t a"]
) -> dict[str, int]:
    """How many chunks hold a coefficient that the alphabet of a FAST lacks; empty for others."""
    if not isinstance(tokenizer, FastTokenizer):
        return {}
    low, high = tokenizer.coefficient_range
    found = to_coefficients(tokenizer.normalization.normalize(chunks), tokenizer.scale)
    return {name: int(((found < low) | (found > high)).any(axis=(1, 2)).sum())}


def name_of(tokenizer: ActionTokenizer) -> str:
    """What the tables call it: RFSQ by its conditioning, others by their kind."""
    if isinstance(tokenizer, StepTokenizer):
        return CONDITIONING_NAMES.get(tokenizer.config.rfsq.conditioning, tokenizer.kind)
    return tokenizer.kind


def _load(source: str, config: TokenizersConfig, chunks: Chunks) -> ActionTokenizer:
    folder = Path(source)
    if is_processor(folder):
        options = {"folder": folder, "trust_remote_code": config.trust_remote_code}
        return ProcessorTokenizer.fit_chunks(ActionSpace.fit(chunks), chunks, **options)
    inside = folder / "tokenizer"
    return ActionTokenizer.from_pretrained(inside if inside.is_dir() else source)


def _free_name(name: str, source: str, taken: dict[str, Candidate]) -> str:
    """The name with its source, and with all of that where two sources end alike."""
    short = f"{name} ({Path(source).name})"
    return f"{name} ({source})" if short in taken else short


def _training(name: str, seed: int, config: TokenizersConfig, dims: int) -> dict[str, Any]:
    """The options of `ActionTokenizer.fit` for what is trained."""
    if name not in STEP_NAMES:
        return {"kind": name, "seed": seed}
    quantizer = RFSQConfig(conditioning=STEP_NAMES[name])
    model = AutoencoderConfig.for_actions(dims, quantizer)
    loop = LoopConfig(config.steps, min(500, config.steps), config.steps, seed)
    return {"kind": "step", "training": TrainingConfig(model=model, loop=loop)}
