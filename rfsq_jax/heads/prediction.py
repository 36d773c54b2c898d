"""From features to normalised actions, whatever the heads predict.

Axes: B batch · T steps of a chunk · A action dims · D latent dims · L layers, of which P coarse ·
K levels or bins · S feature tokens · E their width.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rfsq_jax.heads.config import Readout
from rfsq_jax.heads.decoding import greedy_logits
from rfsq_jax.heads.network import Heads
from rfsq_jax.rfsq import RFSQState
from rfsq_jax.rfsq.layers import AnyArray
from rfsq_jax.tokenizers import autoencoder
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig


class Decoder(NamedTuple):
    """The tokenizer's half that turns codes into normalised actions.

    Attributes:
      config: sizes; static.
      params: of the autoencoder.
      state: the quantiser's constants.
    """

    config: AutoencoderConfig
    params: autoencoder.Params
    state: RFSQState

    def actions(self, codes: Int[Array, "b t d l"]) -> Float[Array, "b t a"]:
        """Codes, or their first layers -> normalised actions."""
        return autoencoder.decode(self.config, self.params, self.state, codes)

    def expected(self, levels: Float[Array, "b t d l"]) -> Float[Array, "b t a"]:
        """Expected levels -> normalised actions of the expected latents."""
        return autoencoder.decode_levels(self.config, self.params, self.state, levels)


class Prediction(NamedTuple):
    """What heads say about a batch.

    Attributes:
      actions: float32 [B, T, A], normalised; of the likeliest codes or bins.
      expected: float32 [B, T, A], normalised; of the expected levels or bins.
      codes: int32 [B, T, D, L], or bins [B, T, A]; None for regression.
    """

    actions: Float[AnyArray, "b t a"]
    expected: Float[AnyArray, "b t a"]
    codes: Int[AnyArray, "..."] | None

    def read(self, readout: Readout) -> Float[Array, "b t a"]:
        """The actions that a policy takes."""
        return jnp.asarray(self.expected if readout == "expected" else self.actions)


def predict_main(
    heads: Heads,
    kind: str,
    decoder: Decoder,
    features: Float[AnyArray, "b s e"],
    state: Float[AnyArray, "b 8"],
) -> Prediction:
    """The main head, greedily: its fine layers are conditioned on its own coarse codes."""
    if kind == "regression":
        actions = heads.main(features, state)
        return Prediction(actions, actions, None)
    if kind == "bins":
        return _of_bins(heads.main(features, state))
    return of_logits(decoder, greedy_logits(heads.main, features, state))


def of_draft(decoder: Decoder, logits: Float[Array, "b t d p k"]) -> Prediction:
    """Logits of the coarse layers -> both readouts, the residual behind them expected."""
    actions, expected = (prefix_actions(decoder, logits, each) for each in ("argmax", "expected"))
    return Prediction(actions, expected, jnp.argmax(logits, axis=-1))


def expected_levels(logits: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    """The mean level of each predicted distribution."""
    levels = jnp.arange(logits.shape[-1], dtype=logits.dtype)
    return jnp.einsum("...k,k->...", jax.nn.softmax(logits), levels)


def prefix_actions(
    decoder: Decoder, logits: Float[Array, "b t d p k"], readout: Readout
) -> Float[Array, "b t a"]:
    """Normalised actions of the coarse layers and the expected residual behind them.

    A layer's grid is centred on its mean residual, so the middle level of the next layer is the
    expected residual: `mean[P]` of a robust tokenizer, 0 of a naive one.
    """
    levels = expected_levels(logits)
    if readout == "argmax":
        levels = jnp.argmax(logits, axis=-1).astype(jnp.float32)
    middle = jnp.full_like(levels[..., :1], (logits.shape[-1] - 1) / 2)
    return decoder.expected(jnp.concatenate([levels, middle], axis=-1))


def of_logits(decoder: Decoder, logits: Float[Array, "b t d l k"]) -> Prediction:
    """Logits of all layers -> both readouts."""
    codes = jnp.argmax(logits, axis=-1)
    expected = decoder.expected(expected_levels(logits))
    return Prediction(decoder.actions(codes), expected, codes)


def _of_bins(logits: Float[Array, "b t a k"]) -> Prediction:
    bins, count = jnp.argmax(logits, axis=-1), logits.shape[-1]
    centres = [(2 * place + 1) / count - 1 for place in (bins, expected_levels(logits))]
    return Prediction(centres[0], centres[1], bins)
