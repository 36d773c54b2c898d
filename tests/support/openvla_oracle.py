"""OpenVLA out of timm and transformers, in torch, tiny and with random weights; no JAX."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

# PyPI's torchvision is built for CUDA; beside CPU torch, timm cannot import it without these two.
DEFINITION = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for each in ("nms", "qnms"):
    LIBRARY.define(each + DEFINITION)

import timm.models.vision_transformer as timm_vit  # noqa: E402
import transformers  # noqa: E402

IMAGE, PATCH, SLOTS, STOP = 56, 14, 56, 2


def towers() -> tuple[Any, Any]:
    shared: dict[str, Any] = {
        "img_size": IMAGE,
        "patch_size": PATCH,
        "num_heads": 2,
        "num_classes": 0,
    }
    dino = timm_vit.VisionTransformer(
        embed_dim=32, depth=4, init_values=1e-5, reg_tokens=4, no_embed_class=True, **shared
    )
    siglip = timm_vit.VisionTransformer(
        embed_dim=36, depth=5, mlp_ratio=3.7362, class_token=False, global_pool="map", **shared
    )
    return dino, siglip


def language_model() -> Any:
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=128,
            hidden_size=32,
            intermediate_size=88,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=4,
            rms_norm_eps=1e-6,
            pad_token_id=100,
        )
    )


class Block(torch.nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        layers = (torch.nn.LayerNorm(width), torch.nn.Linear(width, width), torch.nn.ReLU())
        self.ffn = torch.nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.ffn(x)


class Resnet(torch.nn.Module):
    def __init__(self, joined: int, width: int, outputs: int) -> None:
        super().__init__()
        self.layer_norm1 = torch.nn.LayerNorm(joined)
        self.fc1 = torch.nn.Linear(joined, width)
        self.mlp_resnet_blocks = torch.nn.ModuleList([Block(width), Block(width)])
        self.layer_norm2 = torch.nn.LayerNorm(width)
        self.fc2 = torch.nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.fc1(self.layer_norm1(x)))
        for block in self.mlp_resnet_blocks:
            x = block(x)
        return self.fc2(self.layer_norm2(x))


class Mlp(torch.nn.Module):
    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.count = len(widths) - 1
        for i in range(self.count):
            setattr(self, f"fc{i + 1}", torch.nn.Linear(widths[i], widths[i + 1]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i in range(self.count):
            x = getattr(self, f"fc{i + 1}")(torch.nn.functional.gelu(x) if i else x)
        return x


class Head(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = Resnet(7 * 32, 32, 7)


class Oracle:
    """The parts and, by `tensors`, the files of a published checkpoint."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.dino, self.siglip = towers()
        self.projector, self.proprio = Mlp(68, 272, 32, 32), Mlp(8, 32, 32)
        self.llama, self.head = language_model(), Head()
        for part in self.parts:
            part.eval()
            randomize(part)

    @property
    def parts(self) -> list[torch.nn.Module]:
        return [self.dino, self.siglip, self.projector, self.llama, self.head, self.proprio]

    def tensors(self) -> dict[str, dict[str, np.ndarray]]:
        prefixed = {
            "vision_backbone.featurizer.": self.dino,
            "vision_backbone.fused_featurizer.": self.siglip,
            "projector.": self.projector,
            "language_model.": self.llama,
        }
        model = {
            (prefix + key).replace(".gamma", ".scale_factor"): value.numpy()
            for prefix, part in prefixed.items()
            for key, value in part.state_dict().items()
        }
        sides = {"action_head": self.head, "proprio_projector": self.proprio}
        return {"model": model} | {
            name: {key: value.numpy() for key, value in part.state_dict().items()}
            for name, part in sides.items()
        }

    @torch.no_grad()
    def towers(self, pixels: np.ndarray) -> torch.Tensor:
        """[B, N, H, W, 6] -> [B, N * P, 68], image by image."""
        x = torch.from_numpy(pixels).permute(0, 1, 4, 2, 3)
        images = []
        for n in range(x.shape[1]):
            dino = self.dino.get_intermediate_layers(x[:, n, :3], n=[2])[0]
            siglip = self.siglip.get_intermediate_layers(x[:, n, 3:], n=[3])[0]
            images.append(torch.cat([dino, siglip], dim=2))
        return torch.cat(images, dim=1)

    @torch.no_grad()
    def base(self, pixels: np.ndarray, prompt: list[int]) -> torch.Tensor:
        """One sample's embeddings."""
        text = self.llama.get_input_embeddings()(torch.tensor([prompt]))
        images = self.projector(self.towers(pixels))
        return torch.cat([text[:, :1], images, text[:, 1:]], dim=1)

    @torch.no_grad()
    def base_hidden(self, pixels: np.ndarray, prompt: list[int]) -> np.ndarray:
        return self._hidden(self.base(pixels, prompt)).numpy()

    @torch.no_grad()
    def greedy(self, pixels: np.ndarray, prompt: list[int]) -> list[int]:
        """Without a cache: the whole sequence again for every token."""
        x, tokens = self.base(pixels, prompt), []
        for _ in range(7):
            tokens.append(int(self.llama.lm_head(self._hidden(x)[0, -1]).argmax()))
            new = self.llama.get_input_embeddings()(torch.tensor([[tokens[-1]]]))
            x = torch.cat([x, new], dim=1)
        return tokens

    @torch.no_grad()
    def oft_hidden(
        self, pixels: np.ndarray, prompt: list[int], state: np.ndarray | None
    ) -> np.ndarray:
        base = self.base(pixels, prompt)
        before = base.shape[1] - len(prompt)
        parts = [base[:, : before + 1]]
        if state is not None:
            parts.append(self.proprio(torch.from_numpy(state))[:, None])
            before += 1
        stop = self.llama.get_input_embeddings()(torch.tensor([[STOP]]))
        parts += [base[:, -len(prompt) + 1 :], torch.zeros(1, SLOTS, 32), stop]
        x = torch.cat(parts, dim=1)
        every = torch.zeros(1, 1, x.shape[1], x.shape[1])
        start = before + len(prompt) - 1
        return self._hidden(x, every)[:, start : start + SLOTS].numpy()

    @torch.no_grad()
    def actions(self, hidden: np.ndarray) -> np.ndarray:
        return self.head.model(torch.from_numpy(hidden).reshape(len(hidden), 8, -1)).numpy()

    def _hidden(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        out = self.llama(
            inputs_embeds=x, attention_mask=mask, use_cache=False, output_hidden_states=True
        )
        return out.hidden_states[-1]


@torch.no_grad()
def randomize(part: torch.nn.Module) -> None:
    """Draws every parameter anew: initial values near zero would hide errors."""
    for name, value in part.named_parameters():
        noise = torch.randn(value.shape)
        is_scale = value.ndim == 1 and name.endswith("weight")
        value.copy_(1 + 0.2 * noise if is_scale else 0.2 * noise)
