"""Sizes of the heads, and of the codes that they predict."""

from __future__ import annotations

import dataclasses
from typing import Literal

from rfsq_jax.runs.checks import MAX_DEPTH, MAX_SIZE, require, require_choice, require_range
from rfsq_jax.runs.records import require_types
from rfsq_jax.tokenizers.protocol import ActionTokenizer

ComputeDtype = Literal["float32", "bfloat16"]
HeadKind = Literal["tokens", "bins", "regression"]
PointEstimate = Literal["mode", "mean"]
COARSE_LAYERS = 3
"""L0 to L2: what the draft head predicts, and what the finer layers are conditioned on."""


@dataclasses.dataclass(frozen=True)
class CodeShape:
    """The codes of one chunk.

    Attributes:
      horizon: steps T.
      dim: latent dims D of a step.
      num_layers: residual layers L.
      num_levels: levels K.
      coarse: how many layers come first, unconditioned (P).
    """

    horizon: int
    dim: int
    num_layers: int
    num_levels: int
    coarse: int = COARSE_LAYERS

    def __post_init__(self) -> None:
        require_types(self)
        require_range(self, 1, MAX_SIZE, "horizon", "dim")
        require_range(self, 1, MAX_DEPTH, "num_layers", "coarse")
        require_range(self, 2, MAX_SIZE, "num_levels")
        fits = self.coarse < self.num_layers
        require(fits, "coarse", f"below num_layers ({self.num_layers})", self.coarse)

    @classmethod
    def of(cls, tokenizer: ActionTokenizer, coarse: int = COARSE_LAYERS) -> CodeShape:
        """The codes of a tokenizer; of one with few layers all but the last are coarse.

        Raises:
          ValueError: if its kind has no codes [T, D, L], or a single layer.
        """
        horizon, dim, layers = tokenizer.code_axes
        return cls(horizon, dim, layers, tokenizer.vocab_size, min(coarse, max(1, layers - 1)))

    @property
    def fine(self) -> int:
        """How many layers are conditioned on the coarse ones."""
        return self.num_layers - self.coarse


@dataclasses.dataclass(frozen=True)
class TrunkConfig:
    """A small transformer whose step queries attend the feature tokens.

    Attributes:
      width: hidden size H.
      num_heads: attention heads.
      num_blocks: blocks of cross-attention, self-attention over the steps, and MLP.
      mlp_ratio: hidden size of the MLPs over H.
      dtype: of activations and products; parameters and norms stay float32.
      blind: whether the tokens that show pictures are zeroed: a control that tells what can be done
        without looking.
    """

    width: int = 192
    num_heads: int = 6
    num_blocks: int = 2
    mlp_ratio: int = 2
    dtype: ComputeDtype = "float32"
    blind: bool = False

    def __post_init__(self) -> None:
        require_choice(self.dtype, ComputeDtype, "dtype")
        require_types(self)
        require_range(self, 1, MAX_SIZE, "width", "num_heads")
        require_range(self, 1, MAX_DEPTH, "num_blocks", "mlp_ratio")
        fits = self.width % self.num_heads == 0
        require(fits, "width", f"a multiple of num_heads ({self.num_heads})", self.width)


@dataclasses.dataclass(frozen=True)
class HeadsConfig:
    """All heads of one policy.

    Attributes:
      kind: what the main head predicts: "tokens" of RFSQ, "bins" (256 per value), or continuous
        actions by "regression" (absolute error).
      main: the main head's trunk.
      draft: the draft head's trunk; None for no draft. Only tokens have one.
      num_bins: bins per value.
      point_estimate: what becomes an action: the likeliest codes or bins ("mode"), or the mean of
        their distribution ("mean").
    """

    kind: HeadKind = "tokens"
    main: TrunkConfig = TrunkConfig()
    draft: TrunkConfig | None = TrunkConfig(width=96, num_heads=3, num_blocks=1)
    num_bins: int = 256
    point_estimate: PointEstimate = "mean"

    def __post_init__(self) -> None:
        require_choice(self.kind, HeadKind, "kind")
        require_choice(self.point_estimate, PointEstimate, "point_estimate")
        require_types(self)
        if self.kind != "tokens":
            require(self.draft is None, "draft", f"None for {self.kind}", self.draft)
        require_range(self, 2, MAX_SIZE, "num_bins")
