"""From features to normalised actions, whatever the heads predict.

Axes: B batch · T steps of a chunk · A action dims · D latent dims · L layers, of which P coarse ·
K levels or bins · S feature tokens · E their width.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rfsq_jax.heads.config import HeadKind, PointEstimate
from rfsq_jax.heads.decoding import greedy_logits
from rfsq_jax.heads.network import Heads
from rfsq_jax.rfsq.layers import AnyArray
from rfsq_jax.tokenizers.decoder import Decoder


class Prediction(NamedTuple):
    """What heads say about a batch.

    Attributes:
      mode: float32 [B, T, A], normalised; of the likeliest codes or bins.
      mean: float32 [B, T, A], normalised; of the mean levels or bins.
      codes: int32 [B, T, D, L], or bins [B, T, A]; None for regression.
    """

    mode: Float[AnyArray, "b t a"]
    mean: Float[AnyArray, "b t a"]
    codes: Int[AnyArray, "..."] | None

    def actions(self, point_estimate: PointEstimate) -> Float[AnyArray, "b t a"]:
        """The actions that a policy takes."""
        return self.mean if point_estimate == "mean" else self.mode


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """Heads with what turns their logits into normalised actions; for use while tracing.

    Attributes:
      heads: bound to parameters.
      kind: what the main head predicts.
      decoder: of the tokenizer, for tokens.
      point_estimate: what a policy takes of a predicted distribution.
    """

    heads: Heads
    kind: HeadKind
    decoder: Decoder | None
    point_estimate: PointEstimate

    def main(self, features: Float[AnyArray, "b s e"], state: Float[AnyArray, "b 8"]) -> Prediction:
        """The main head, greedily: its fine layers are conditioned on its own coarse codes."""
        if self.kind == "regression":
            actions = self.heads.main(features, state)
            return Prediction(actions, actions, None)
        if self.kind == "bins":
            return _of_bins(self.heads.main(features, state))
        return of_logits(self.code_decoder, greedy_logits(self.heads.main, features, state))

    def main_actions(
        self, features: Float[AnyArray, "b s e"], state: Float[AnyArray, "b 8"]
    ) -> Float[Array, "b t a"]:
        """What a policy takes of the main head."""
        return jnp.asarray(self.main(features, state).actions(self.point_estimate))

    def prefix_actions(self, logits: Float[Array, "b t d p k"]) -> Float[Array, "b t a"]:
        """What a policy takes of the logits of the coarse layers alone."""
        return jnp.asarray(of_draft(self.code_decoder, logits).actions(self.point_estimate))

    def confidence(self, logits: Float[Array, "b t d p k"]) -> Float[Array, " b"]:
        """How sure the coarse layers are, see `confidence`."""
        return confidence(self.code_decoder, logits)

    @property
    def code_decoder(self) -> Decoder:
        """The decoder of token heads."""
        if self.decoder is None:
            raise ValueError(f"heads must predict tokens to be decoded, got kind {self.kind!r}")
        return self.decoder


def of_draft(decoder: Decoder, logits: Float[Array, "b t d p k"]) -> Prediction:
    """Logits of the coarse layers -> both estimates, each with the mean of what is left."""
    codes = jnp.argmax(logits, axis=-1)
    levels = (codes.astype(jnp.float32), mean_levels(logits))
    mode, mean = (decoder.mean_actions(each) for each in levels)
    return Prediction(_nan_as(mean, mode), mean, codes)


def of_logits(decoder: Decoder, logits: Float[Array, "b t d l k"]) -> Prediction:
    """Logits of all layers -> both estimates."""
    codes = jnp.argmax(logits, axis=-1)
    mean = decoder.mean_actions(mean_levels(logits))
    return Prediction(_nan_as(mean, decoder.actions(codes)), mean, codes)


def mean_levels(logits: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    """The mean level of each predicted distribution."""
    levels = jnp.arange(logits.shape[-1], dtype=logits.dtype)
    return jnp.einsum("...k,k->...", jax.nn.softmax(logits), levels)


def confidence(decoder: Decoder, logits: Float[Array, "b t d p k"]) -> Float[Array, " b"]:
    """Minus the standard deviation of the latents that the draft leaves open; mean over a chunk.

    A doubtful token of a late layer moves the action less than one of L0, which the mean
    log-probability does not know: on held-out frames this lets more samples exit at equal error.
    """
    return -decoder.deviation(jax.nn.softmax(logits)).mean(axis=(1, 2))


def _of_bins(logits: Float[Array, "b t a k"]) -> Prediction:
    bins, count = jnp.argmax(logits, axis=-1), logits.shape[-1]
    mode, mean = ((2 * place + 1) / count - 1 for place in (bins, mean_levels(logits)))
    return Prediction(_nan_as(mean, mode), mean, bins)


def _nan_as(mean: Float[Array, "b t a"], mode: Float[Array, "b t a"]) -> Float[Array, "b t a"]:
    """The mode, NaN where the mean is: the argmax of NaN is a code like any other."""
    return jnp.where(jnp.isnan(mean), mean, mode)
