"""The options of `eval.tokenizers`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rfsq_jax.data.episodes import HORIZON
from rfsq_jax.libero.demonstrations.bundled import bundled_suites
from rfsq_jax.rfsq import CONDITIONING_NAMES, Conditioning
from rfsq_jax.runs.checks import (
    MAX_SEED,
    MAX_SIZE,
    require,
    require_known,
    require_positive,
    require_range,
)
from rfsq_jax.runs.records import require_types
from rfsq_jax.tokenizers import kinds

STEP_NAMES: dict[str, Conditioning] = {name: key for key, name in CONDITIONING_NAMES.items()}
"""Autoencoders of one time step are called by their conditioning."""
UNIVERSAL = "universal"
"""Ordered tokens by the shared path alone, which takes statistics but no training."""


def fittable() -> tuple[str, ...]:
    """What `fit` can name: every kind, the kind "step" by its conditionings; universal."""
    return (*(kind for kind in kinds() if kind != "step"), *STEP_NAMES, UNIVERSAL)


def usual_fit() -> tuple[str, ...]:
    """Bins, FAST, ordered where there is such a kind, naive and robust."""
    return tuple(
        name for name in ("bins", "fast", "ordered", "naive", "robust") if name in fittable()
    )


@dataclasses.dataclass(frozen=True)
class TokenizersConfig:
    """What is compared, on what.

    Attributes:
      tokenizers: bundled names, folders of train.ae or `save_pretrained`, and folders of Hugging
        Face processors in FAST's style.
      fit: kinds to fit here to the training part; step autoencoders by their conditioning: naive,
        scale, robust; "universal" for ordered tokens by the shared path alone.
      data: bundled suites, .npz or .hdf5 files of actions, RLDS folders; taken together.
      output: folder of results.json, the pictures and the tokenizers that were fitted here.
      horizon: steps T of a chunk; several are compared one after the other.
      seeds: of training, one tokenizer each.
      held_out: share of episodes held out.
      fit_episodes: fit to so many of the other episodes only, drawn at random; None for all.
      split_seed: decides which these are; 0 is the split of the bundled tokenizers.
      fast_scales: coefficients per unit of normalised action, one FAST tokenizer each.
      fast_vocab: ids of each FAST tokenizer.
      num_bins: bins per value.
      steps: training steps of a step autoencoder.
      curve_chunks: held-out chunks, at most, for errors.
      statistics_chunks: held-out chunks, at most, for what is slower to measure.
      compare_bits: range of bits for 8 x 7 values in which fixed lengths are to beat FAST; it
        grows with the values of a chunk.
      trust_remote_code: allow a processor's folder to run its own Python code.
    """

    tokenizers: tuple[str, ...] = ()
    fit: tuple[str, ...] = dataclasses.field(default_factory=usual_fit)
    data: tuple[str, ...] = dataclasses.field(default_factory=bundled_suites)
    output: Path = Path("runs/tokenizers")
    horizon: tuple[int, ...] = (HORIZON,)
    seeds: tuple[int, ...] = (0, 1, 2)
    held_out: float = 0.1
    fit_episodes: int | None = None
    split_seed: int = 0
    fast_scales: tuple[float, ...] = (2.0, 4.0, 10.0, 20.0, 40.0)
    fast_vocab: int = 1024
    num_bins: int = 256
    steps: int = 20_000
    curve_chunks: int = 20_000
    statistics_chunks: int = 2_000
    compare_bits: tuple[float, float] = (40.0, 200.0)
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        require_types(self)
        require_known(self.fit, fittable(), "fit")
        require(bool(self.fit or self.tokenizers), "fit or tokenizers", "at least one", ())
        for name in ("data", "horizon", "seeds"):
            given = getattr(self, name)
            require(len(given) > 0, name, "at least one", given)
            require(len(set(given)) == len(given), name, "all different", given)
        for horizon in self.horizon:
            require(1 <= horizon <= MAX_SIZE, "horizon", f"in 1..{MAX_SIZE}", horizon)
        for seed in self.seeds:
            require(0 <= seed <= MAX_SEED, "seeds", f"in 0..{MAX_SEED}", seed)
        require_range(self, 0, MAX_SEED, "split_seed")
        require_positive(self, "fast_vocab", "steps")
        require_range(self, 2, MAX_SIZE, "num_bins")
        require_range(self, 2, 10**9, "curve_chunks", "statistics_chunks")
        positive = all(scale > 0 for scale in self.fast_scales)
        require(positive, "fast_scales", "above 0", self.fast_scales)
        low, high = self.compare_bits
        require(0 < low < high, "compare_bits", "above 0 and ascending", self.compare_bits)
        require(0 < self.held_out < 1, "held_out", "in (0, 1)", self.held_out)
        if self.fit_episodes is not None:
            require_positive(self, "fit_episodes")
