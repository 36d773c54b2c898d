"""The reference's tokenizer: an RFSQ autoencoder of one time step, applied to every step.

Axes: B chunks · T steps of a chunk · A action dims · D latent dims · L residual layers · K levels.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rfsq_jax import rfsq
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.parallel.batching import in_blocks
from rfsq_jax.rfsq import RFSQState
from rfsq_jax.rfsq.layers import AnyArray, step_size
from rfsq_jax.runs.canonical import canonical
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.records import parse_record
from rfsq_jax.runs.trees import Params, flatten, require_finite
from rfsq_jax.runs.weight_files import WEIGHTS, check_shapes
from rfsq_jax.tokenizers import autoencoder
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.tokenizers.ids import check_ids, is_flat_ids, require_prefix
from rfsq_jax.tokenizers.protocol import ActionTokenizer

if TYPE_CHECKING:
    from rfsq_jax.training.autoencoder.training import TrainingConfig

FIT_STEPS = 20_000
MAX_NORMALIZED = 1e6
"""Hundreds of thousands of times the range of most actions; the networks stay far from overflow."""


@dataclasses.dataclass(frozen=True, eq=False)
class StepDecoder:
    """Implements `protocol.Decoder`.

    Attributes:
      config: sizes.
      params: of the autoencoder.
      state: the quantiser's constants.
    """

    config: AutoencoderConfig
    params: Params
    state: RFSQState

    def actions(self, codes: Int[AnyArray, "b t d l"]) -> Float[Array, "b t a"]:
        """Codes, or those of the first layers -> normalised actions."""
        return autoencoder.decode(self.config, self.params, self.state, codes)

    def mean_actions(self, levels: Float[AnyArray, "b t d l"]) -> Float[Array, "b t a"]:
        """Mean levels of all layers, or of the first ones -> normalised actions.

        A layer's grid is centred on its mean residual, so the middle level of the next layer is the
        mean of what is left: `mean[l]` of a robust tokenizer, 0 of a naive one.
        """
        levels = jnp.asarray(levels)
        if levels.shape[-1] < self.config.rfsq.num_layers:
            middle = jnp.full_like(levels[..., :1], (self.config.rfsq.num_levels - 1) / 2)
            levels = jnp.concatenate([levels, middle], axis=-1)
        return autoencoder.decode_levels(self.config, self.params, self.state, levels)

    def deviation(self, probabilities: Float[AnyArray, "b t d l k"]) -> Float[Array, "b t d"]:
        """Standard deviation of the latents where each code is distributed like this."""
        constants = autoencoder.constants(self.config, self.params, self.state)
        steps = step_size(self.config.rfsq, constants.scale[: probabilities.shape[-2]])
        levels = jnp.arange(probabilities.shape[-1], dtype=jnp.float32)
        mean = jnp.einsum("btdlk,k->btdl", probabilities, levels)
        variance = jnp.einsum("btdlk,k->btdl", probabilities, levels**2) - mean**2
        return jnp.sqrt(jnp.einsum("btdl,ld->btd", jnp.maximum(variance, 0.0), steps**2))


class StepTokenizer(ActionTokenizer):
    """Robot actions <-> codes int32 [B, T, D, L].

    Attributes:
      config: sizes of the networks and of the code.
      params: of encoder and decoder.
      state: the quantiser's constants.
    """

    kind = "step"

    def __init__(
        self, config: AutoencoderConfig, params: Params, state: RFSQState, space: ActionSpace
    ) -> None:
        super().__init__(space)
        require(
            config.action_dim == space.action_dim,
            "action_dim",
            f"that of the action space ({space.action_dim})",
            config.action_dim,
        )
        self.config = config
        self.params = jax.device_put(params)
        self.state = jax.device_put(state)

    @classmethod
    def fit_chunks(
        cls,
        space: ActionSpace,
        chunks: Float[np.ndarray, "b t a"],
        *,
        training: TrainingConfig | None = None,
    ) -> StepTokenizer:
        """Trains on checked chunks in robot units.

        Args:
          space: of the chunks.
          chunks: float32 [B, T, A].
          training: how; by default 20,000 steps of the default recipe, and networks that grow with
            the number of dims.
        """
        from rfsq_jax.training.autoencoder import training as trainer
        from rfsq_jax.training.loop import LoopConfig

        if training is None:
            model = AutoencoderConfig.for_actions(space.action_dim)
            loop = LoopConfig(steps=FIT_STEPS, evaluate_every=FIT_STEPS)
            training = trainer.TrainingConfig(model=model, loop=loop)
        values = space.normalization.normalize(chunks)
        params, state = trainer.train(
            training, values, values, spec=space.spec, description="tokenizer"
        )
        return cls(training.model, params, state, space)

    @classmethod
    def from_parts(
        cls, space: ActionSpace, config: Mapping[str, Any], arrays: Mapping[str, Any]
    ) -> StepTokenizer:
        """The inverse of `config_dict` and `arrays`."""
        sizes = parse_record(AutoencoderConfig, dict(config), "config")
        missing = sorted(flatten(canonical(sizes)).keys() - flatten(config).keys())
        require(not missing, "config", "whole", f"no {', '.join(missing)}")
        params, state = jax.eval_shape(lambda: autoencoder.init(sizes, jax.random.key(0)))
        wanted = {"params": params, "quantizer": state._asdict()}
        check_shapes(WEIGHTS, wanted, dict(arrays))
        require_finite(WEIGHTS, dict(arrays))
        scale = np.asarray(arrays["quantizer"]["scale"])
        require(bool((scale > 0).all()), f"{WEIGHTS} quantizer/scale", "above 0", scale.min())
        return cls(sizes, arrays["params"], RFSQState(**arrays["quantizer"]), space)

    def config_dict(self) -> dict[str, Any]:
        """Sizes of the networks and of the code."""
        return canonical(self.config)

    def arrays(self) -> dict[str, Any]:
        """Parameters and the quantiser's constants."""
        return {"params": self.params, "quantizer": self.state._asdict()}

    @property
    def vocab_size(self) -> int:
        """The levels of one layer."""
        return self.config.rfsq.num_levels

    @property
    def tokens_per_chunk(self) -> int:
        """T * D * L."""
        return self.horizon * self.config.rfsq.dim * self.config.rfsq.num_layers

    @property
    def prefix_lengths(self) -> tuple[int, ...]:
        """Whole layers."""
        layer = self.horizon * self.config.rfsq.dim
        return tuple(layer * depth for depth in range(1, self.config.rfsq.num_layers + 1))

    def decode_prefix(self, tokens: Any, length: int) -> Float[np.ndarray, "*b t a"]:
        """Decodes whole layers."""
        require_prefix(length, self.prefix_lengths)
        return self.decode(tokens, num_layers=self.prefix_lengths.index(length) + 1)

    @property
    def code_axes(self) -> tuple[int, int, int]:
        """T, D, L."""
        return self.horizon, self.config.rfsq.dim, self.config.rfsq.num_layers

    @property
    def decoder(self) -> StepDecoder:
        """The half that heads need."""
        return StepDecoder(self.config, self.params, self.state)

    def encode_chunks(self, chunks: Float[np.ndarray, "b t a"]) -> Int[np.ndarray, "b t d l"]:
        """Checked chunks in robot units -> codes int32 [B, T, D, L].

        Raises:
          ValueError: on actions so large that the networks would overflow.
        """
        values = self.normalization.normalize(chunks)
        largest = float(np.abs(values).max(initial=0.0))
        expected = f"below {MAX_NORMALIZED:g} in normalised units"
        require(largest < MAX_NORMALIZED, "actions", expected, largest)
        run = functools.partial(autoencoder.encode, self.config, self.params, self.state)
        return in_blocks(run, values)

    def decode(self, tokens: Any, num_layers: int | None = None) -> Float[np.ndarray, "*b t a"]:
        """Codes -> actions float32 [B, T, A] or [T, A], robot units.

        Args:
          tokens: int [B, T, D, L'] or [T, D, L'] with L' <= L, or the flat lists of a call, each of
            which may be cut after any layer.
          num_layers: how many layers to decode; all that are given by default.

        Raises:
          ValueError: on another shape or a token outside [0, vocab_size).
          TypeError: if the tokens or num_layers are not integers.
        """
        flat, levels = is_flat_ids(tokens), self.vocab_size
        codes = self._unflatten(tokens) if flat else check_ids(tokens, levels)
        rfsq.require_codes(self.config.rfsq, codes)
        if codes.ndim not in (3, 4) or codes.shape[-3] != self.horizon:
            expected = f"[B, {self.horizon}, D, L] or [{self.horizon}, D, L]"
            raise ValueError(f"tokens must have shape {expected}, got {codes.shape}")
        single = codes.ndim == 3
        used = rfsq.check_num_layers(num_layers, codes.shape[-1])

        def run(block: np.ndarray) -> jax.Array:
            return autoencoder.decode(self.config, self.params, self.state, block, used)

        values = in_blocks(run, codes[None] if single else codes)
        actions = self.normalization.denormalize(values)
        return actions[0] if single else actions

    def flatten(self, tokens: Int[np.ndarray, "b t d l"]) -> list[list[int]]:
        """Codes -> one flat list of ids per chunk, coarse layers first."""
        return np.moveaxis(tokens, -1, 1).reshape(len(tokens), -1).tolist()

    def _unflatten(self, tokens: Any) -> Int[np.ndarray, "b t d l"]:
        lengths, layer = {len(ids) for ids in tokens}, self.horizon * self.config.rfsq.dim
        if len(lengths) != 1 or min(lengths) % layer or not min(lengths):
            expected = f"equally long lists of a multiple of {layer} ids"
            raise ValueError(f"tokens must be {expected}, got lengths {sorted(lengths)}")
        ids = check_ids(tokens, self.vocab_size)
        codes = ids.reshape(len(tokens), -1, self.horizon, self.config.rfsq.dim)
        return np.moveaxis(codes, 1, -1)
