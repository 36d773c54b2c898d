"""One table: every parameter, its shape, and the checkpoint's tensors that it comes from.

Layers are stacked on a first axis. Paths are levels joined by "/", as in `runs.trees`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from rfsq_jax.backbones.openvla.config import OFTConfig, OpenVLAConfig, VitConfig
from rfsq_jax.parallel.sharding import Rules
from rfsq_jax.runs.trees import unflatten

MODEL, HEAD, PROPRIO = "model", "action_head", "proprio_projector"


@dataclasses.dataclass(frozen=True)
class Leaf:
    """Where a parameter comes from.

    Attributes:
      file: MODEL, HEAD or PROPRIO.
      keys: the checkpoint's names, one per layer, or one.
      torch_shape: of each of those tensors.
      single: shape of the parameter, of one layer where layers are stacked.
      stacked: whether layers are.
    """

    file: str
    keys: tuple[str, ...]
    torch_shape: tuple[int, ...]
    single: tuple[int, ...]
    stacked: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """The parameter's shape, layers first."""
        return (len(self.keys), *self.single) if self.stacked else self.single

    def convert(self, tensor: np.ndarray) -> np.ndarray:
        """One of the checkpoint's tensors in the parameter's axis order; a view where it can be."""
        if tensor.ndim == 4:
            tensor = tensor.transpose(2, 3, 1, 0)
        elif tensor.ndim == 2 and not self.keys[0].endswith("embed_tokens.weight"):
            tensor = tensor.T
        return tensor.reshape(self.single)


def parameter_table(config: OpenVLAConfig) -> dict[str, Leaf]:
    """Path -> leaf, for every parameter that the model runs."""
    table = _Table()
    _vit(table, "vision/dino", "vision_backbone.featurizer", config.dino, config)
    _vit(table, "vision/siglip", "vision_backbone.fused_featurizer", config.siglip, config)
    hidden, width = 4 * config.vision_width, config.llama.width
    widths = (config.vision_width, hidden, width, width)
    for i in range(3):
        table.linear(f"projector/fc{i + 1}", f"projector.fc{i + 1}", widths[i], widths[i + 1])
    _llama(table, config)
    if config.oft:
        _oft(table, config.oft, width)
    return table.leaves


def unused_keys(config: OpenVLAConfig) -> re.Pattern[str]:
    """Names of tensors that a checkpoint has and the model never runs."""
    towers = (("featurizer", config.dino), ("fused_featurizer", config.siglip))
    names = "|".join(
        rf"vision_backbone\.{tower}\.(norm|attn_pool|blocks\.{vit.depth - 1})\..*"
        for tower, vit in towers
    )
    return re.compile(names)


def abstract_params(config: OpenVLAConfig, dtype: Any = jnp.bfloat16) -> dict[str, Any]:
    """Shapes and dtypes, for compiling without weights."""
    table = parameter_table(config)
    return unflatten({k: jax.ShapeDtypeStruct(v.shape, dtype) for k, v in table.items()})


def random_params(config: OpenVLAConfig, key: jax.Array, dtype: Any = jnp.bfloat16) -> Any:
    """Weights that keep activations near one, for measuring speed."""
    table = parameter_table(config)
    keys = jax.random.split(key, len(table))
    return unflatten(
        {
            path: _random(path, leaf, k, dtype)
            for (path, leaf), k in zip(table.items(), keys, strict=True)
        }
    )


def unstacked(params: dict[str, Any], config: OpenVLAConfig) -> dict[str, Any]:
    """The same parameters with every stack of layers as a list, for `layers.run_stack`."""
    depths = {
        ("vision", "dino", "blocks"): config.dino.run_depth,
        ("vision", "siglip", "blocks"): config.siglip.run_depth,
        ("llm", "layers"): config.llama.depth,
    }
    if config.oft:
        depths["head", "blocks"] = config.oft.head_blocks
    return _split(params, depths, ())


def _split(tree: Any, depths: dict[tuple[str, ...], int], path: tuple[str, ...]) -> Any:
    if path in depths:
        return [jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i in range(depths[path])]
    if isinstance(tree, dict):
        return {name: _split(part, depths, (*path, name)) for name, part in tree.items()}
    return tree


def _random(path: str, leaf: Leaf, key: jax.Array, dtype: Any) -> jax.Array:
    noise = jax.random.normal(key, leaf.shape, dtype)
    if path.endswith("/kernel"):
        return noise / math.sqrt(leaf.single[0])
    return noise * 0.1 + (1 if path.endswith("/scale") else 0)


# Columns are split over the tensor axis where a map widens or makes heads, rows where it comes
# back, so that a block needs one sum over the axis for attention and one for the MLP.
_WIDEN = r"(fc1|q|k|v|gate|up|fc)"
_NARROW = r"(proj|fc2|o|down)"
# Of one block: the first axis of a stack holds the layers, which are never split.
_BLOCKS: Rules = (
    (r"qkv/kernel", PartitionSpec("fsdp", None, "tensor")),
    (rf"(mlp/)?{_WIDEN}/kernel", PartitionSpec("fsdp", "tensor")),
    (rf"(mlp/)?{_NARROW}/kernel", PartitionSpec("tensor", "fsdp")),
)
RULES: Rules = (
    (r"head/fc2/kernel", PartitionSpec("fsdp", None)),
    (r"proprio/fc1/kernel", PartitionSpec(None, "tensor")),
    # Not over the tensor axis: the language model's stream would come to be split too, and each
    # of its norms would have to be summed.
    (r"projector/fc3/kernel", PartitionSpec("fsdp", None)),
    *((rf".*/(blocks|layers)/{name}", PartitionSpec(None, *spec)) for name, spec in _BLOCKS),
    *((rf".*/(blocks|layers)/\d+/{name}", spec) for name, spec in _BLOCKS),
    (r"llm/embed", PartitionSpec("tensor", "fsdp")),
    (r"llm/lm_head/kernel", PartitionSpec("fsdp", "tensor")),
    (rf"(projector|head|proprio)/{_WIDEN}/kernel", PartitionSpec("fsdp", "tensor")),
    (rf"(projector|head|proprio)/{_NARROW}/kernel", PartitionSpec("tensor", "fsdp")),
    (r"vision/.*/(positions|registers|cls|ls1|ls2|patch/kernel)", PartitionSpec()),
    (r".*/(bias|scale)", PartitionSpec()),
)


class _Table:
    """Leaves as they are added; `layers` stacks what is added with a "{}" in its key."""

    def __init__(self) -> None:
        self.leaves: dict[str, Leaf] = {}
        self.file = MODEL

    def add(self, path: str, key: str, torch: tuple, shape: tuple, layers: int = 0) -> None:
        keys = tuple(key.format(i) for i in range(layers)) if layers else (key,)
        self.leaves[path] = Leaf(self.file, keys, torch, shape, layers > 0)

    def linear(
        self, path: str, key: str, inputs: int, outputs: int, layers: int = 0, bias: bool = True
    ) -> None:
        kernel = (outputs, inputs), (inputs, outputs)
        self.add(f"{path}/kernel", f"{key}.weight", *kernel, layers)
        if bias:
            self.add(f"{path}/bias", f"{key}.bias", (outputs,), (outputs,), layers)

    def norm(self, path: str, key: str, width: int, layers: int = 0, bias: bool = True) -> None:
        self.add(f"{path}/scale", f"{key}.weight", (width,), (width,), layers)
        if bias:
            self.add(f"{path}/bias", f"{key}.bias", (width,), (width,), layers)


def _vit(table: _Table, path: str, key: str, vit: VitConfig, config: OpenVLAConfig) -> None:
    width, size, depth = vit.width, config.patch, vit.run_depth
    table.add(
        f"{path}/patch/kernel",
        f"{key}.patch_embed.proj.weight",
        (width, 3, size, size),
        (size * size * 3, width),
    )
    table.add(f"{path}/patch/bias", f"{key}.patch_embed.proj.bias", (width,), (width,))
    patches = (config.patches, width)
    table.add(f"{path}/positions", f"{key}.pos_embed", (1, *patches), patches)
    if vit.prefix:
        registers = (vit.registers, width)
        table.add(f"{path}/cls", f"{key}.cls_token", (1, 1, width), (1, width))
        table.add(f"{path}/registers", f"{key}.reg_token", (1, *registers), registers)
    path, key = f"{path}/blocks", key + ".blocks.{}"
    for name in ("norm1", "norm2"):
        table.norm(f"{path}/{name}", f"{key}.{name}", width, depth)
    # With an axis for the three, so that each chip has the queries, keys and values of its heads.
    qkv = f"{key}.attn.qkv"
    joined = ((3 * width, width), (width, 3, width))
    table.add(f"{path}/qkv/kernel", f"{qkv}.weight", *joined, depth)
    table.add(f"{path}/qkv/bias", f"{qkv}.bias", (3 * width,), (3, width), depth)
    table.linear(f"{path}/proj", f"{key}.attn.proj", width, width, depth)
    table.linear(f"{path}/mlp/fc1", f"{key}.mlp.fc1", width, vit.mlp_width, depth)
    table.linear(f"{path}/mlp/fc2", f"{key}.mlp.fc2", vit.mlp_width, width, depth)
    for name in ("ls1", "ls2") if vit.prefix else ():
        table.add(f"{path}/{name}", f"{key}.{name}.scale_factor", (width,), (width,), depth)


def _llama(table: _Table, config: OpenVLAConfig) -> None:
    llama, key = config.llama, "language_model.model"
    words = (llama.vocabulary, llama.width)
    table.add("llm/embed", f"{key}.embed_tokens.weight", words, words)
    table.norm("llm/norm", f"{key}.norm", llama.width, bias=False)
    table.linear("llm/lm_head", "language_model.lm_head", *reversed(words), bias=False)
    key = key + ".layers.{}"
    shapes = {name: ("self_attn", f"{name}_proj", llama.width, llama.width) for name in "qkvo"}
    shapes["gate"] = ("mlp", "gate_proj", llama.width, llama.mlp_width)
    shapes["up"] = ("mlp", "up_proj", llama.width, llama.mlp_width)
    shapes["down"] = ("mlp", "down_proj", llama.mlp_width, llama.width)
    for name, (part, torch, inputs, outputs) in shapes.items():
        torch_key = f"{key}.{part}.{torch}"
        table.linear(f"llm/layers/{name}", torch_key, inputs, outputs, llama.depth, bias=False)
    for name, torch in (("norm1", "input_layernorm"), ("norm2", "post_attention_layernorm")):
        table.norm(f"llm/layers/{name}", f"{key}.{torch}", llama.width, llama.depth, bias=False)


def _oft(table: _Table, oft: OFTConfig, width: int) -> None:
    table.file = HEAD
    joined = oft.action_dim * width
    table.norm("head/norm1", "model.layer_norm1", joined)
    table.linear("head/fc1", "model.fc1", joined, width)
    block = "model.mlp_resnet_blocks.{}.ffn"
    table.norm("head/blocks/norm", f"{block}.0", width, oft.head_blocks)
    table.linear("head/blocks/fc", f"{block}.1", width, width, oft.head_blocks)
    table.norm("head/norm2", "model.layer_norm2", width)
    table.linear("head/fc2", "model.fc2", width, oft.action_dim)
    if oft.proprio:
        table.file = PROPRIO
        table.linear("proprio/fc1", "fc1", oft.state_dim, width)
        table.linear("proprio/fc2", "fc2", width, width)
