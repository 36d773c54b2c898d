"""A policy's heads as one module, and as a pure function of a dict of parameters."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array

from rfsq_jax.backbones.protocol import EARLY, FINAL, BackboneSpec, Depth
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.heads.config import CodeShape, HeadsConfig
from rfsq_jax.heads.parallel import ActionHead, DraftHead, MainHead
from rfsq_jax.runs.checks import MAX_SIZE, require, require_range
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.trees import Params


@dataclasses.dataclass(frozen=True)
class HeadsShape:
    """What the heads' sizes depend on besides their config; hashable.

    Attributes:
      early: features of the draft head.
      final: features of the main head.
      horizon: steps T of a chunk.
      action_dim: A.
      tokens: the tokenizer's codes; None for heads that predict actions.
    """

    early: Depth
    final: Depth
    horizon: int
    action_dim: int
    tokens: CodeShape | None = None

    def __post_init__(self) -> None:
        require_types(self)
        require_range(self, 1, MAX_SIZE, "horizon", "action_dim")
        if self.tokens is not None:
            wanted, got = self.horizon, self.tokens.horizon
            require(got == wanted, "tokens", f"of {wanted} steps, the horizon", got)

    @classmethod
    def of(
        cls, spec: BackboneSpec, space: ActionSpace, tokens: CodeShape | None = None
    ) -> HeadsShape:
        """For a backbone, an action space and, if tokens are predicted, their shape."""
        early, final = spec.depths[EARLY], spec.depths[FINAL]
        return cls(early, final, space.horizon, space.action_dim, tokens)

    @property
    def codes(self) -> CodeShape:
        """The tokenizer's codes.

        Raises:
          ValueError: for heads that predict actions.
        """
        if self.tokens is None:
            raise ValueError("heads must predict tokens to have codes, got heads of actions")
        return self.tokens


class Heads(nnx.Module):
    """The main head and, if configured, the draft head."""

    def __init__(self, config: HeadsConfig, shape: HeadsShape, *, rngs: nnx.Rngs) -> None:
        # Any: its kind depends on the config.
        self.main: Any = _main(config, shape, rngs)
        if config.draft is not None:
            self.draft = DraftHead(config.draft, shape.early, shape.codes, rngs=rngs)


def init(config: HeadsConfig, shape: HeadsShape, key: Array) -> Params:
    """Returns fresh parameters, a pure dict of arrays."""
    _, params = nnx.split(Heads(config, shape, rngs=nnx.Rngs(key)))
    return nnx.to_pure_dict(params)


def bind(config: HeadsConfig, shape: HeadsShape, params: Params) -> Heads:
    """Returns the module with these parameters; cheap enough to call while tracing."""
    graph, abstract = _structure(config, shape)
    # A copy: the structure is cached, and threads may trace at the same time.
    filled = jax.tree.map(lambda leaf: leaf, abstract)
    nnx.replace_by_pure_dict(filled, params)
    return nnx.merge(graph, filled)


def _main(config: HeadsConfig, shape: HeadsShape, rngs: nnx.Rngs) -> MainHead | ActionHead:
    if config.kind == "tokens":
        return MainHead(config.main, shape.final, shape.codes, rngs=rngs)
    outputs = () if config.kind == "regression" else (config.num_bins,)
    sizes = (shape.final, shape.horizon, shape.action_dim, outputs)
    return ActionHead(config.main, *sizes, rngs=rngs)


@functools.lru_cache
def _structure(config: HeadsConfig, shape: HeadsShape) -> tuple[Any, Any]:
    abstract = nnx.eval_shape(lambda: Heads(config, shape, rngs=nnx.Rngs(0)))
    return nnx.split(abstract)
