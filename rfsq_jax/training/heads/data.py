"""Frozen features on disk -> batches for the heads.

Axes: N rows · M steps of a call · B batch · T steps of a chunk · A action dims · S feature tokens.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from rfsq_jax.backbones.protocol import EARLY, FINAL
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.features.store import FeatureStore
from rfsq_jax.heads.config import HeadsConfig
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.json_files import read_json
from rfsq_jax.tokenizers.bins import to_bins
from rfsq_jax.tokenizers.protocol import ActionTokenizer
from rfsq_jax.training.feeding import Feed
from rfsq_jax.training.heads.objective import Batch
from rfsq_jax.training.heads.training import AveragedTraining

SPLIT = ("suites", "images", "held_out", "seed", "horizon", "backbone_version")
"""What decides which episodes are held out."""


@dataclasses.dataclass(frozen=True, eq=False)
class HeadsData:
    """Features of one split, with what the heads should say about them.

    Attributes:
      store: the features.
      rows: int [N], the split's rows of the store.
      actions: float32 [N, T, A], normalised.
      targets: int [N, T, D, L] codes or [N, T, A] bins; empty for regression.
      with_early: whether batches carry early features, for a draft.
    """

    store: FeatureStore
    rows: Int[np.ndarray, " n"]
    actions: Float[np.ndarray, "n t a"]
    targets: Int[np.ndarray, "n ..."]
    with_early: bool

    @classmethod
    def of(
        cls,
        store: FeatureStore,
        split: str,
        space: ActionSpace,
        tokenizer: ActionTokenizer | None,
        config: HeadsConfig,
    ) -> HeadsData:
        """Encodes a split's chunks.

        Args:
          store: the features.
          split: "train" or "held_out".
          space: normalises the actions.
          tokenizer: makes the targets of token heads.
          config: what the heads predict.

        Raises:
          ValueError: if the split is empty.
        """
        rows = store.rows(split)
        if not len(rows):
            raise ValueError(f"the features hold no {split} frames; extract more episodes")
        chunks = store.actions[rows]
        actions = space.normalization.normalize(chunks)
        targets = _targets(config, tokenizer, chunks, actions)
        return cls(store, rows, actions, targets, config.draft is not None)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, places: Int[np.ndarray, "*m"]) -> Batch:
        """The rows at `places`, of any shape [..., B]."""
        rows = self.rows[places]
        return Batch(
            final=self._features(FINAL, rows),
            early=self._features(EARLY, rows) if self.with_early else None,
            state=self.store.state[rows],
            actions=self.actions[places],
            targets=self.targets[places],
        )

    def feed(self, config: AveragedTraining) -> Feed:
        """Random batches for `config`'s loop."""
        loop = config.loop
        return Feed(self.read, len(self), config.batch_size, loop.steps_per_call, loop.seed)

    def _features(self, depth: str, rows: Int[np.ndarray, "*m"]) -> np.ndarray:
        flat = self.store.gather(depth, rows.reshape(-1))
        return flat.reshape(*rows.shape, *flat.shape[1:])


def _targets(
    config: HeadsConfig,
    tokenizer: ActionTokenizer | None,
    chunks: Float[np.ndarray, "n t a"],
    actions: Float[np.ndarray, "n t a"],
) -> Int[np.ndarray, "n ..."]:
    if config.kind == "tokens":
        assert tokenizer is not None, "token heads come with a tokenizer"
        dtype = np.int8 if tokenizer.vocab_size <= 128 else np.int16
        return tokenizer.encode(chunks).astype(dtype)
    if config.kind == "bins":
        return to_bins(actions, config.num_bins)
    return np.empty((len(chunks), 0), np.int8)


def check_split(trained_on: Path, measured_on: Path) -> None:
    """Raises ValueError unless episodes held out of one folder of features are of the other."""
    if trained_on.resolve() == measured_on.resolve():
        return
    options = [read_json(folder / "config.json") for folder in (trained_on, measured_on)]
    for name in SPLIT:
        trained, measured = (each.get(name) for each in options)
        require(trained == measured, name, f"{trained} as in {trained_on}", measured)
