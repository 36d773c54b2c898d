"""The reference experiment's heads, exactly, and their weights from its PyTorch checkpoints.

Modules carry the names of the checkpoint's keys, so that a weight's path is its key.

Axes: B batch · E feature width · T steps of a chunk · D latent dims · N = T * D tokens of a layer ·
L layers, of which P coarse · K levels · H hidden width · C width of an embedded token.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from rfsq_jax.heads.config import CodeShape
from rfsq_jax.rfsq import RFSQConfig
from rfsq_jax.rfsq.config import require_codes
from rfsq_jax.rfsq.layers import AnyArray
from rfsq_jax.runs.checks import MAX_SIZE, require, require_range
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.trees import flatten, require_same, unflatten

Head = TypeVar("Head", bound=nnx.Module)
TORCH_NAMES = {"kernel": "weight", "scale": "weight", "embedding": "weight"}
exact_gelu = functools.partial(jax.nn.gelu, approximate=False)


@dataclasses.dataclass(frozen=True)
class ReferenceConfig:
    """Sizes of the reference heads; the defaults are those of its checkpoints.

    Attributes:
      feature_dim: width E of the backbone's one feature vector.
      codes: the codes that are predicted.
      main_width: hidden width of the main heads; every layer's head halves it.
      token_width: width of an embedded code in the conditional main head.
      draft_width: hidden width of the draft head; every layer's head halves it.
      draft_projection: whether features are projected; without, their width is draft_width.
    """

    feature_dim: int = 4096
    codes: CodeShape = CodeShape(horizon=8, dim=16, num_layers=8, num_levels=7)
    main_width: int = 1024
    token_width: int = 64
    draft_width: int = 512
    draft_projection: bool = True

    def __post_init__(self) -> None:
        require_types(self)
        require_range(self, 1, MAX_SIZE, "feature_dim", "token_width")
        require_range(self, 2, MAX_SIZE, "main_width", "draft_width")


class ReferenceMain(nnx.Module):
    """The unconditional main head: all layers from one feature vector."""

    def __init__(self, config: ReferenceConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.feature_proj = _project(config.feature_dim, config.main_width, rngs)
        self.layer_heads = _layer_heads(config.codes.num_layers, config.main_width, config, rngs)

    def __call__(self, features: Float[AnyArray, "b e"]) -> Float[Array, "b l n k"]:
        """Features -> logits of all layers."""
        hidden = self.feature_proj(_as_features(features, self.config.feature_dim))
        return _logits(self.layer_heads, hidden, self.config.codes)


class ReferenceConditionalMain(nnx.Module):
    """The conditional main head: all layers given the coarse codes, which it may copy."""

    def __init__(self, config: ReferenceConfig, *, rngs: nnx.Rngs) -> None:
        codes, width = config.codes, config.main_width
        given = codes.horizon * codes.dim * codes.coarse * config.token_width
        self.config = config
        self.feature_proj = _project(config.feature_dim, width, rngs)
        self.token_embedding = nnx.Embed(codes.num_levels, config.token_width, rngs=rngs)
        self.token_proj = _project(given, width, rngs)
        self.fusion = _project(2 * width, width, rngs)
        self.layer_heads = _layer_heads(codes.num_layers, width, config, rngs)

    def __call__(
        self, features: Float[AnyArray, "b e"], codes: Int[AnyArray, "b t d p"]
    ) -> Float[Array, "b l n k"]:
        """Features and coarse codes -> logits of all layers."""
        _check_given(self.config.codes, codes)
        seen = self.feature_proj(_as_features(features, self.config.feature_dim))
        embedded = self.token_embedding(jnp.asarray(codes))
        given = self.token_proj(embedded.reshape(codes.shape[0], -1))
        hidden = self.fusion(jnp.concatenate([seen, given], axis=-1))
        return _logits(self.layer_heads, hidden, self.config.codes)


class ReferenceDraft(nnx.Module):
    """The draft head: the coarse layers, by a transformer layer over a single token."""

    def __init__(self, config: ReferenceConfig, *, rngs: nnx.Rngs) -> None:
        width = config.draft_width
        self.config = config
        if config.draft_projection:
            self.input_projection = nnx.Linear(config.feature_dim, width, rngs=rngs)
        self.decoder = _Decoder(width, rngs=rngs)
        self.classification_heads = _layer_heads(config.codes.coarse, width, config, rngs)

    def __call__(self, features: Float[AnyArray, "b e"]) -> Float[Array, "b p n k"]:
        """Features -> logits of the coarse layers."""
        if self.config.draft_projection:
            hidden = self.input_projection(_as_features(features, self.config.feature_dim))
        else:
            hidden = _as_features(features, self.config.draft_width)
        return _logits(self.classification_heads, self.decoder(hidden), self.config.codes)


class _Decoder(nnx.Module):
    """The token at position 0 through one decoder layer that reads the token itself as memory."""

    def __init__(self, width: int, *, rngs: nnx.Rngs) -> None:
        self.position_encoding = nnx.Param(0.02 * jax.random.normal(rngs.params(), (1, 256, width)))
        self.decoder_layer = _DecoderLayer(width, rngs=rngs)
        self.output_norm = _norm(width, rngs)

    def __call__(self, token: Float[Array, "b h"]) -> Float[Array, "b h"]:
        return self.output_norm(self.decoder_layer(token + self.position_encoding[:, 0]))


class _DecoderLayer(nnx.Module):
    """Self-attention, cross-attention and MLP; residual, each after its norm."""

    def __init__(self, width: int, *, rngs: nnx.Rngs) -> None:
        self.norm1, self.norm2, self.norm3 = (_norm(width, rngs) for _ in range(3))
        self.self_attn = _SingleTokenAttention(width, rngs=rngs)
        self.multihead_attn = _SingleTokenAttention(width, rngs=rngs)
        self.linear1 = nnx.Linear(width, 4 * width, rngs=rngs)
        self.linear2 = nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, token: Float[Array, "b h"]) -> Float[Array, "b h"]:
        # norm2 would make the query; with one token to attend, only the raw memory matters.
        hidden = token + self.self_attn(self.norm1(token)) + self.multihead_attn(token)
        return hidden + self.linear2(exact_gelu(self.linear1(self.norm3(hidden))))


class _SingleTokenAttention(nnx.Module):
    """Attention to one token: its softmax weight is 1, so queries and keys are not computed."""

    def __init__(self, width: int, *, rngs: nnx.Rngs) -> None:
        # Rows of the queries, keys and values, as PyTorch stores them.
        initial = nnx.initializers.xavier_uniform()(rngs.params(), (3 * width, width))
        self.in_proj_weight = nnx.Param(initial)
        self.in_proj_bias = nnx.Param(jnp.zeros(3 * width))
        self.out_proj = nnx.Linear(width, width, rngs=rngs)

    def __call__(self, memory: Float[Array, "b h"]) -> Float[Array, "b h"]:
        values = slice(2 * memory.shape[-1], None)
        value = memory @ self.in_proj_weight[values].T + self.in_proj_bias[None, values]
        return self.out_proj(value)


def from_checkpoint(
    head: Callable[..., Head], config: ReferenceConfig, checkpoint: Mapping[str, Any]
) -> Head:
    """Returns a head with a checkpoint's weights.

    Args:
      head: ReferenceMain, ReferenceConditionalMain or ReferenceDraft.
      config: its sizes.
      checkpoint: numpy arrays by key, at the top or under "model" or "model_state_dict".

    Raises:
      ValueError: if keys are missing, unknown or of another shape, or weights are not finite.
      TypeError: if weights are not floating point.
    """
    graph, state = nnx.split(nnx.eval_shape(lambda: head(config, rngs=nnx.Rngs(0))))
    leaves = flatten(nnx.to_pure_dict(state))
    weights = {key: np.asarray(value) for key, value in _state_dict(checkpoint).items()}
    _check_weights({_key(path): _torch_shape(path, leaf) for path, leaf in leaves.items()}, weights)
    loaded = {path: _from_torch(path, weights[_key(path)]) for path in leaves}
    nnx.replace_by_pure_dict(state, unflatten(loaded))
    return nnx.merge(graph, state)


def _norm(width: int, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(width, epsilon=1e-5, use_fast_variance=False, rngs=rngs)


def _project(inputs: int, outputs: int, rngs: nnx.Rngs) -> nnx.Sequential:
    return nnx.Sequential(nnx.Linear(inputs, outputs, rngs=rngs), exact_gelu, _norm(outputs, rngs))


# Any: the type checker of the tests refuses nnx.List as an annotation.
def _layer_heads(layers: int, width: int, config: ReferenceConfig, rngs: nnx.Rngs) -> Any:
    outputs = config.codes.horizon * config.codes.dim * config.codes.num_levels
    bodies = [_project(width, width // 2, rngs) for _ in range(layers)]
    last = functools.partial(nnx.Linear, width // 2, outputs, rngs=rngs)
    return nnx.List(nnx.Sequential(*body.layers, last()) for body in bodies)


def _logits(heads: Any, hidden: Float[Array, "b h"], codes: CodeShape) -> Float[Array, "b l n k"]:
    flat = jnp.stack([head(hidden) for head in heads], axis=1)
    return flat.reshape(*flat.shape[:2], codes.horizon * codes.dim, codes.num_levels)


def _as_features(features: Any, width: int) -> Float[Array, "b e"]:
    require(features.shape[1:] == (width,), "features", f"of shape [B, {width}]", features.shape)
    return jnp.asarray(features, jnp.float32)


def _check_given(shape: CodeShape, codes: Any) -> None:
    expected = (shape.horizon, shape.dim, shape.coarse)
    require(codes.shape[1:] == expected, "codes", f"of shape {('B', *expected)}", codes.shape)
    require_codes(RFSQConfig(shape.dim, shape.coarse, shape.num_levels), codes)


def _state_dict(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = [k for k in ("model", "model_state_dict") if isinstance(checkpoint.get(k), Mapping)]
    require(len(nested) < 2, "checkpoint", "nested under one key", nested)
    return checkpoint[nested[0]] if nested else checkpoint


def _key(path: str) -> str:
    """feature_proj/layers/0/kernel -> feature_proj.0.weight."""
    *parents, leaf = (part for part in path.split("/") if part != "layers")
    return ".".join([*parents, TORCH_NAMES.get(leaf, leaf)])


def _torch_shape(path: str, leaf: jax.ShapeDtypeStruct) -> tuple[int, ...]:
    return leaf.shape[::-1] if path.endswith("/kernel") else leaf.shape


def _from_torch(path: str, weight: np.ndarray) -> Array:
    return jnp.asarray(weight.T if path.endswith("/kernel") else weight, jnp.float32)


def _check_weights(wanted: dict[str, tuple[int, ...]], weights: dict[str, np.ndarray]) -> None:
    shapes = {key: weight.shape for key, weight in weights.items()}
    require_same("checkpoint has other keys or shapes", wanted, shapes)
    for key, weight in weights.items():
        if not jnp.issubdtype(weight.dtype, jnp.floating):
            raise TypeError(f"{key} must be floating point, got {weight.dtype}")
        require(bool(np.isfinite(weight).all()), key, "finite", "NaN or inf")
