"""What a policy of heads is made of, besides its backbone.

Axes: B environments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from jaxtyping import Array, Float

from rfsq_jax.backbones.protocol import BackboneOption
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.heads import network, proprio
from rfsq_jax.heads.config import CodeShape, HeadsConfig
from rfsq_jax.heads.network import HeadsShape
from rfsq_jax.heads.prediction import Predictor
from rfsq_jax.heads.proprio import ProprioStatistics
from rfsq_jax.rfsq.layers import AnyArray
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.trees import Params
from rfsq_jax.tokenizers.protocol import ActionTokenizer


@dataclasses.dataclass(frozen=True, eq=False)
class PolicyParts:
    """Everything of a policy but its backbone.

    Attributes:
      backbone: name of the backbone.
      backbone_version: the version that the heads were trained on.
      config: the heads.
      shape: sizes of features and of what is predicted.
      params: the heads' parameters.
      statistics: of the state.
      space: of the actions.
      tokenizer: decodes what token heads predict; None for others.
      threshold: draft confidence from which an early exit is worth it; None before calibration.
      backbone_options: the backbone's options when the heads were trained, without paths.
    """

    backbone: str
    backbone_version: str
    config: HeadsConfig
    shape: HeadsShape
    params: Params
    statistics: ProprioStatistics
    space: ActionSpace
    tokenizer: ActionTokenizer | None = None
    threshold: float | None = None
    backbone_options: Mapping[str, BackboneOption] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        fits = (self.tokenizer is not None) == (self.config.kind == "tokens")
        require(fits, "tokenizer", "given for token heads, and for no others", self.config.kind)
        proprio.check(self.statistics)
        chunk = (self.shape.horizon, self.shape.action_dim)
        wanted = (self.space.horizon, self.space.action_dim)
        require(chunk == wanted, "shape", f"of the action space's chunks {wanted}", chunk)
        if self.tokenizer is not None:
            codes = CodeShape.of(self.tokenizer, self.shape.codes.coarse)
            require(codes == self.shape.codes, "shape", f"of {codes}", self.shape.codes)

    @property
    def token_decoder(self) -> ActionTokenizer:
        """The tokenizer of token heads.

        Raises:
          ValueError: for heads that predict actions.
        """
        if self.tokenizer is None:
            raise ValueError(f"policy must have token heads, got kind {self.config.kind!r}")
        return self.tokenizer

    def predictor(self, params: Params) -> Predictor:
        """The heads with these parameters and what decodes them; for use while tracing."""
        decoder = None if self.tokenizer is None else self.tokenizer.decoder
        heads = network.bind(self.config, self.shape, params)
        return Predictor(heads, self.config.kind, decoder, self.config.point_estimate)

    def normalize_state(self, state: Float[AnyArray, "b 8"]) -> Float[Array, "b 8"]:
        """The raw state as the heads see it."""
        return proprio.normalize(self.statistics, state)
