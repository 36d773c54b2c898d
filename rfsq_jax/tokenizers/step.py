"""Action chunks in, tokens out: the tokenizer as users hold it. numpy on both sides.

Axes: B chunks · T steps of a chunk (horizon) · A action dims · D latent dims · L residual layers.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from rfsq_jax import rfsq
from rfsq_jax.data.normalization import Normalization
from rfsq_jax.parallel.batching import in_blocks
from rfsq_jax.rfsq import RFSQState
from rfsq_jax.tokenizers import autoencoder
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig, Params
from rfsq_jax.tokenizers.files import load_folder, resolve, save_folder

if TYPE_CHECKING:
    from rfsq_jax.training.autoencoder.training import TrainingConfig

HORIZON = 8
FIT_STEPS = 20_000


class Fitted(NamedTuple):
    """What fitting a tokenizer gives it.

    Attributes:
      params: parameters of encoder and decoder.
      state: the quantiser's constants.
      normalization: robot units <-> normalised.
    """

    params: Params
    state: RFSQState
    normalization: Normalization


class ActionTokenizer:
    """A robust RFSQ autoencoder with its normalisation: robot actions <-> int32 codes.

    Make one with `from_pretrained`, or with a config and `fit`.

    Attributes:
      config: sizes of the networks and of the code.
      horizon: steps T of a chunk.
    """

    def __init__(self, config: AutoencoderConfig | None = None, horizon: int = HORIZON) -> None:
        self.config = AutoencoderConfig() if config is None else config
        self.horizon = horizon
        self._fitted: Fitted | None = None

    @classmethod
    def from_parts(
        cls,
        config: AutoencoderConfig,
        params: Params,
        state: RFSQState,
        normalization: Normalization,
        horizon: int = HORIZON,
    ) -> ActionTokenizer:
        """Returns a fitted tokenizer made of what training gave."""
        tokenizer = cls(config, horizon)
        tokenizer._fitted = Fitted(jax.device_put(params), jax.device_put(state), normalization)
        return tokenizer

    @classmethod
    def from_pretrained(cls, path_or_name: str | Path) -> ActionTokenizer:
        """Loads a bundled tokenizer by name ("libero") or a folder that `save_pretrained` wrote.

        Raises:
          FileNotFoundError: if there is no such name or folder; it lists the names.
          ValueError: if the files are damaged or of a newer format.
        """
        return cls.from_parts(**load_folder(resolve(path_or_name)))

    def save_pretrained(self, path: str | Path) -> None:
        """Writes config, parameters, constants and normalisation; the folder is whole or absent."""
        save_folder(Path(path), self.config, *self.fitted, self.horizon)

    def fit(
        self, actions: Float[np.ndarray, "b t a"], training: TrainingConfig | None = None
    ) -> ActionTokenizer:
        """Measures the normalisation and trains on chunks in robot units; returns itself.

        Args:
          actions: float [B, T, A].
          training: how; by default 20,000 steps of the default recipe.
        """
        from rfsq_jax.training.autoencoder import training as trainer
        from rfsq_jax.training.loop import LoopConfig

        actions, _ = self._chunks(actions)
        if training is None:
            loop = LoopConfig(steps=FIT_STEPS, evaluate_every=FIT_STEPS)
            training = trainer.TrainingConfig(model=self.config, loop=loop)
        normalization = Normalization.fit(actions)
        chunks = normalization.normalize(actions)
        params, state = trainer.train(training, chunks, chunks, description="tokenizer")
        self.config = training.model
        self._fitted = Fitted(jax.device_put(params), jax.device_put(state), normalization)
        return self

    @property
    def fitted(self) -> Fitted:
        """Parameters, constants and normalisation.

        Raises:
          RuntimeError: before `fit` or `from_pretrained`.
        """
        if self._fitted is None:
            raise RuntimeError("this tokenizer has no parameters yet; call fit or from_pretrained")
        return self._fitted

    @property
    def version(self) -> str:
        """16 hex digits over config, parameters, constants and normalisation."""
        digest = hashlib.sha256(f"{self.config} {self.horizon}".encode())
        params, state, normalization = self.fitted
        for leaf in jax.tree.leaves((params, state, normalization.low, normalization.high)):
            digest.update(np.ascontiguousarray(leaf).tobytes())
        return digest.hexdigest()[:16]

    @property
    def vocab_size(self) -> int:
        """How many different ids a token can take: the levels of one layer."""
        return self.config.rfsq.num_levels

    @property
    def tokens_per_chunk(self) -> int:
        """Tokens of one chunk: T * D * L."""
        return self.horizon * self.config.rfsq.dim * self.config.rfsq.num_layers

    @property
    def bits_per_chunk(self) -> float:
        """Bits of one chunk when every token costs log2(vocab_size)."""
        return self.tokens_per_chunk * math.log2(self.vocab_size)

    def encode(self, actions: Any) -> Int[np.ndarray, "*b t d l"]:
        """Actions float [B, T, A] or [T, A], robot units -> codes int32 [B, T, D, L] or [T, D, L].

        Raises:
          ValueError: on another shape, NaN or inf.
        """
        chunks, single = self._chunks(actions)
        params, state, normalization = self.fitted
        run = functools.partial(autoencoder.encode, self.config, params, state)
        codes = in_blocks(run, normalization.normalize(chunks))
        return codes[0] if single else codes

    def decode(self, tokens: Any, num_layers: int | None = None) -> Float[np.ndarray, "*b t a"]:
        """Codes -> actions float32 [B, T, A] or [T, A], robot units.

        Args:
          tokens: int [B, T, D, L'] or [T, D, L'] with L' <= L, or the flat lists of a call, each of
            which may be cut after any layer.
          num_layers: how many layers to decode; all that are given by default.

        Raises:
          ValueError: on another shape or a token outside [0, vocab_size).
          TypeError: if the tokens are not integers.
        """
        params, state, normalization = self.fitted
        codes = np.asarray(self._unflatten(tokens))
        rfsq.require_codes(self.config.rfsq, codes)
        if codes.ndim not in (3, 4) or codes.shape[-3] != self.horizon:
            expected = f"[B, {self.horizon}, D, L] or [{self.horizon}, D, L]"
            raise ValueError(f"tokens must have shape {expected}, got {codes.shape}")
        single = codes.ndim == 3

        def run(block: np.ndarray) -> jax.Array:
            return autoencoder.decode(self.config, params, state, block, num_layers)

        values = in_blocks(run, codes[None] if single else codes)
        actions = normalization.denormalize(values)
        return actions[0] if single else actions

    def __call__(self, actions: Any) -> list[list[int]]:
        """Actions [B, T, A] or [T, A] -> one flat list of ids per chunk, coarse layers first."""
        codes = self.encode(actions)
        codes = codes if codes.ndim == 4 else codes[None]
        return np.moveaxis(codes, -1, 1).reshape(len(codes), -1).tolist()

    def _unflatten(self, tokens: Any) -> Any:
        if not (isinstance(tokens, Sequence) and tokens and isinstance(tokens[0], Sequence)):
            return tokens
        lengths, layer = {len(ids) for ids in tokens}, self.horizon * self.config.rfsq.dim
        if len(lengths) != 1 or min(lengths) % layer or not min(lengths):
            expected = f"equally long lists of a multiple of {layer} ids"
            raise ValueError(f"tokens must be {expected}, got lengths {sorted(lengths)}")
        codes = np.asarray(tokens).reshape(len(tokens), -1, self.horizon, self.config.rfsq.dim)
        return np.moveaxis(codes, 1, -1)

    def _chunks(self, actions: Any) -> tuple[Float[np.ndarray, "b t a"], bool]:
        chunks = np.asarray(actions, np.float32)
        if chunks.ndim not in (2, 3) or chunks.shape[-2:] != (self.horizon, self.config.action_dim):
            expected = f"[B, {self.horizon}, {self.config.action_dim}] or without B"
            raise ValueError(f"actions must have shape {expected}, got {chunks.shape}")
        if not np.isfinite(chunks).all():
            raise ValueError("actions must be finite, got NaN or inf")
        return (chunks, False) if chunks.ndim == 3 else (chunks[None], True)
