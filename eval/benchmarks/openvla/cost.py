"""What one action costs OpenVLA and OpenVLA-OFT: floating-point operations and weights to read.

Two operations per multiplication and addition; norms, activations and lookups are left out, and
attention counts in full, or up to each query where it is causal.
"""

from __future__ import annotations

import math

from eval.benchmarks.device_peaks import Cost
from rfsq_jax.backbones.openvla.config import LlamaConfig, OpenVLAConfig, VitConfig
from rfsq_jax.backbones.openvla.layout import parameter_table
from rfsq_jax.backbones.openvla.model import ACTION_TOKENS, require_oft

Parts = dict[str, Cost]


def sequence_length(config: OpenVLAConfig, images: int, prompt: int) -> int:
    """Positions of one sample, as `model` lays them out."""
    length = images * config.patches + prompt
    if config.oft:
        length += config.oft.slots + 1 + config.oft.proprio
    return length


def cost_parts(
    config: OpenVLAConfig, images: int, prompt: int, batch: int = 1, itemsize: int = 2
) -> Parts:
    """The costs of vision, projector, and prefill and decode steps or LLM and head."""
    length = sequence_length(config, images, prompt)
    vision = vit_flops(config.dino, config) + vit_flops(config.siglip, config)
    parts = {
        "vision": Cost(batch * images * vision, 0),
        "projector": Cost(batch * images * projector_flops(config), 0),
    }
    if config.oft:
        parts["LLM"] = Cost(batch * (llm_flops(config.llama, length) + proprio_flops(config)), 0)
        parts["head"] = Cost(batch * head_flops(config), 0)
    else:
        word = 2 * config.llama.width * config.llama.vocabulary
        parts["prefill"] = Cost(batch * (llm_flops(config.llama, length, causal=True) + word), 0)
        # Attention of six steps, the first of which sees one position more than the prefill.
        steps = ACTION_TOKENS - 1
        seen = sum(length + 1 + step for step in range(steps))
        flops = steps * (matmul_flops(config.llama) + word) + attention_flops(config.llama, seen)
        keys = 2 * config.llama.depth * config.llama.width * itemsize * seen
        weights = weight_bytes(config, "prefill", itemsize)
        parts["decode"] = Cost(batch * flops, steps * weights + batch * keys)
    for name in parts.keys() - {"decode"}:
        parts[name] += Cost(0, weight_bytes(config, name, itemsize))
    return parts


def passes(parts: Parts) -> list[Cost]:
    """What cannot overlap: all until the hidden states, then the decode steps."""
    once = [cost for name, cost in parts.items() if name != "decode"]
    return [sum(once[1:], once[0]), *([parts["decode"]] if "decode" in parts else [])]


def weight_bytes(config: OpenVLAConfig, part: str, itemsize: int = 2) -> int:
    """Bytes of the parameters that a part reads whole; of embeddings it reads a few rows."""
    prefixes = {
        "vision": ("vision/",),
        "projector": ("projector/",),
        "LLM": ("llm/layers/", "llm/norm/", "proprio/"),
        "head": ("head/",),
        "prefill": ("llm/layers/", "llm/norm/", "llm/lm_head/"),
    }[part]
    table = parameter_table(config)
    return itemsize * sum(
        math.prod(leaf.shape) for path, leaf in table.items() if path.startswith(prefixes)
    )


def vit_flops(vit: VitConfig, config: OpenVLAConfig) -> int:
    """One tower on one image: the patches' embedding and the blocks that are run."""
    tokens = config.patches + vit.prefix
    maps = 4 * vit.width**2 + 2 * vit.width * vit.mlp_width
    block = 2 * tokens * maps + 4 * tokens**2 * vit.width
    return 2 * config.patches * 3 * config.patch**2 * vit.width + vit.run_depth * block


def projector_flops(config: OpenVLAConfig) -> int:
    """Three maps on the tokens of one image."""
    narrow, wide, width = config.vision_width, 4 * config.vision_width, config.llama.width
    return 2 * config.patches * (narrow * wide + wide * width + width**2)


def llm_flops(llama: LlamaConfig, length: int, causal: bool = False) -> int:
    """All layers over a whole sequence."""
    pairs = length * (length + 1) // 2 if causal else length**2
    return length * matmul_flops(llama) + attention_flops(llama, pairs)


def matmul_flops(llama: LlamaConfig) -> int:
    """The layers' maps on one token."""
    return 2 * llama.depth * (4 * llama.width**2 + 3 * llama.width * llama.mlp_width)


def attention_flops(llama: LlamaConfig, pairs: int) -> int:
    """Scores of pairs of query and key, and the values' sums, in all layers."""
    return 4 * llama.depth * llama.width * pairs


def head_flops(config: OpenVLAConfig) -> int:
    """The L1 head on a chunk."""
    oft, width = require_oft(config), config.llama.width
    step = oft.action_dim * width * width + oft.head_blocks * width**2 + width * oft.action_dim
    return 2 * oft.horizon * step


def proprio_flops(config: OpenVLAConfig) -> int:
    """The projector of the robot's state, if the model takes it."""
    oft, width = require_oft(config), config.llama.width
    return 2 * (oft.state_dim * width + width**2) if oft.proprio else 0
