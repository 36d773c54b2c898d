"""OpenVLA and OpenVLA-OFT out of timm and transformers, random weights, any size.

The parts are named as in the published checkpoints.

Axes: B batch · N images · C 6 channels, DINO's three first · H, W pixels · T prompt tokens · S
sequence · A slots · E width.
"""

from __future__ import annotations

from typing import Any

import torch  # pyright: ignore[reportMissingImports]  # an optional extra
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]

from eval.benchmarks.torch_imports import torchvision_beside_cpu_torch
from rfsq_jax.backbones.openvla.config import OFTConfig, OpenVLAConfig, VitConfig
from rfsq_jax.backbones.openvla.model import STOP


def import_timm() -> Any:
    """timm's vision transformers, also beside a PyTorch for CPUs."""
    with torchvision_beside_cpu_torch():
        import timm.models.vision_transformer  # pyright: ignore[reportMissingImports]
        import transformers  # noqa: F401  # pyright: ignore[reportMissingImports]

    return timm.models.vision_transformer


class Mlp(nn.Module):
    """Maps with a GELU between each two."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.depth = len(widths) - 1
        for index in range(self.depth):
            setattr(self, f"fc{index + 1}", nn.Linear(widths[index], widths[index + 1]))

    def forward(self, x: Tensor) -> Tensor:
        """[..., I] -> [..., O]."""
        for index in range(self.depth):
            x = getattr(self, f"fc{index + 1}")(nn.functional.gelu(x) if index else x)
        return x


class Block(nn.Module):
    """A residual block of the head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, E] -> [B, T, E]."""
        return x + self.ffn(x)


class Head(nn.Module):
    """The L1 head."""

    def __init__(self, oft: OFTConfig, width: int) -> None:
        super().__init__()
        joined = oft.action_dim * width
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(joined), nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(joined, width), nn.Linear(width, oft.action_dim)
        self.mlp_resnet_blocks = nn.ModuleList(Block(width) for _ in range(oft.head_blocks))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, A * E] -> [B, T, A]."""
        x = torch.relu(self.fc1(self.layer_norm1(x)))
        for block in self.mlp_resnet_blocks:
            x = block(x)
        return self.fc2(self.layer_norm2(x))


class TorchOpenVLA(nn.Module):
    """Both models; without `config.oft` the base."""

    def __init__(self, config: OpenVLAConfig) -> None:
        super().__init__()
        import_timm()
        width = config.llama.width
        self.config = config
        self.vision_backbone = nn.ModuleDict(
            {
                "featurizer": _vit(config.dino, config),
                "fused_featurizer": _vit(config.siglip, config),
            }
        )
        self.projector = Mlp(config.vision_width, 4 * config.vision_width, width, width)
        self.language_model = _language_model(config)
        if config.oft:
            self.action_head = nn.ModuleDict({"model": Head(config.oft, width)})
            if config.oft.proprio:
                self.proprio_projector = Mlp(config.oft.state_dim, width, width)

    def see(self, pixels: Tensor) -> Tensor:
        """[B, N, C, H, W] -> image tokens [B, N * patches, E]."""
        halves = pixels.flatten(0, 1).split(3, dim=1)
        towers: list[Any] = list(self.vision_backbone.values())
        depths = (self.config.dino.depth, self.config.siglip.depth)
        seen = [
            tower.get_intermediate_layers(half, n=[depth - 2])[0]
            for tower, half, depth in zip(towers, halves, depths, strict=True)
        ]
        return self.projector(torch.cat(seen, dim=-1)).unflatten(0, pixels.shape[:2]).flatten(1, 2)

    def embed(self, pixels: Tensor, prompt: Tensor, *after: Tensor) -> Tensor:
        """BOS, images and what comes after them, and the prompt: [B, S, E]."""
        text = self.language_model.get_input_embeddings()(prompt)
        return torch.cat([text[:, :1], self.see(pixels), *after, text[:, 1:]], dim=1)

    def oft(self, pixels: Tensor, prompt: Tensor, *state: Tensor) -> Tensor:
        """A normalised chunk [B, T, A]."""
        oft = self.config.oft
        assert oft is not None
        x = self.embed(pixels, prompt, *(self.proprio_projector(each)[:, None] for each in state))
        stop = self.language_model.get_input_embeddings()(torch.full_like(prompt[:, :1], STOP))
        length = x.shape[1]
        x = torch.cat([x, x.new_zeros(len(x), oft.slots, x.shape[2]), stop], dim=1)
        # Nothing is padded, so no mask; and the fused kernels take none.
        hidden = self.language_model.model(inputs_embeds=x, use_cache=False, is_causal=False)
        states = hidden.last_hidden_state[:, length - 1 : length - 1 + oft.slots]
        return self.action_head["model"](states.reshape(len(x), oft.horizon, -1))

    def first(self, x: Tensor, cache: Any, positions: Tensor) -> Tensor:
        """The token after a sequence [B, S, E] whose keys go into the cache."""
        out = self.language_model(
            inputs_embeds=x, past_key_values=cache, cache_position=positions,
            position_ids=positions[None], use_cache=True, logits_to_keep=1,
        )  # fmt: skip
        return out.logits[:, -1].argmax(-1, keepdim=True)


def make(config: OpenVLAConfig, dtype: torch.dtype) -> TorchOpenVLA:
    """The model with random weights of a dtype, on PyTorch's current device."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return TorchOpenVLA(config).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(before)


def _vit(vit: VitConfig, config: OpenVLAConfig) -> nn.Module:
    prefixed = {"init_values": 1e-5, "reg_tokens": vit.registers, "no_embed_class": True}
    bare = {"class_token": False, "global_pool": "map"}
    return import_timm().VisionTransformer(
        img_size=config.image_size,
        patch_size=config.patch,
        embed_dim=vit.width,
        depth=vit.depth,
        num_heads=vit.heads,
        mlp_ratio=vit.mlp_width / vit.width,
        num_classes=0,
        **(prefixed if vit.prefix else bare),
    )


def _language_model(config: OpenVLAConfig) -> Any:
    import transformers  # pyright: ignore[reportMissingImports]

    llama = config.llama
    sizes: dict[str, Any] = {
        "vocab_size": llama.vocabulary,
        "hidden_size": llama.width,
        "intermediate_size": llama.mlp_width,
        "num_hidden_layers": llama.depth,
        "num_attention_heads": llama.heads,
        "num_key_value_heads": llama.heads,
        "rms_norm_eps": llama.epsilon,
        "rope_parameters": {"rope_type": "default", "rope_theta": llama.rope_base},
        "pad_token_id": None,
        "attn_implementation": "sdpa",
    }
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))
