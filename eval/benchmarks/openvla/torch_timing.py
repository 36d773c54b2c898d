"""Calls of OpenVLA in PyTorch, eager or compiled, on made-up inputs.

Axes: B batch · T prompt tokens · S sequence · E width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch  # pyright: ignore[reportMissingImports]  # an optional extra
from torch import Tensor  # pyright: ignore[reportMissingImports]

from eval.benchmarks.openvla.torch_model import TorchOpenVLA, make
from rfsq_jax.backbones.openvla.config import OpenVLAConfig
from rfsq_jax.backbones.openvla.model import ACTION_TOKENS


def timed_call(
    config: OpenVLAConfig,
    images: int,
    prompt: int,
    batch: int,
    dtype: str,
    mode: str,
    device: str,
) -> Callable[[], None]:
    """A call on made-up inputs that waits until it is done.

    Args:
      config: sizes.
      images: per sample.
      prompt: its length.
      batch: samples.
      dtype: of weights and inputs.
      mode: eager, or a mode of torch.compile.
      device: where.
    """
    kind = getattr(torch, dtype)
    with torch.device(device):
        model = make(config, kind)
        size = config.image_size
        inputs = [
            torch.randn(batch, images, 6, size, size, dtype=kind),
            torch.randint(3, config.llama.vocabulary, (batch, prompt)),
        ]
        if config.oft and config.oft.proprio:
            inputs.append(torch.randn(batch, config.oft.state_dim, dtype=kind))
    run = oft_runner(model, mode) if config.oft else base_runner(model, mode, batch, kind)

    @torch.inference_mode()
    def call() -> None:
        if device == "cuda":
            run(*inputs)
            torch.cuda.synchronize()
        else:
            # On a busy machine several threads wait for each other a hundred times as long.
            torch.set_num_threads(1)
            run(*inputs)

    return call


def oft_runner(model: TorchOpenVLA, mode: str) -> Callable[..., Tensor]:
    """OFT as one compiled function."""
    return _compiled(model.oft, mode)


def base_runner(
    model: TorchOpenVLA, mode: str, batch: int, dtype: torch.dtype
) -> Callable[..., Tensor]:
    """The base model's seven tokens: embedding, prefill and step compiled; one cache for all."""
    from transformers import StaticCache  # pyright: ignore[reportMissingImports]

    embed, first = _compiled(model.embed, mode), _compiled(model.first, mode)
    words = model.language_model.get_input_embeddings()
    caches: dict[int, Any] = {}

    def run(pixels: Tensor, prompt: Tensor) -> Tensor:
        x = embed(pixels, prompt).clone()
        length = x.shape[1]
        if length not in caches:
            llama = model.config.llama
            cache = StaticCache(model.language_model.config, length + ACTION_TOKENS - 1)
            # Now, or it would be made inside a CUDA graph, whose memory the next call takes back.
            cache.early_initialization(batch, llama.heads, llama.head_dim, dtype, x.device)
            caches[length] = cache
        cache = caches[length]
        cache.reset()
        positions = torch.arange(length, device=x.device)
        tokens = [first(x, cache, positions).clone()]
        for step in range(ACTION_TOKENS - 1):
            tokens.append(first(words(tokens[-1]), cache, positions[-1:] + 1 + step).clone())
        return torch.cat(tokens, dim=1)

    return run


def _compiled(function: Callable[..., Tensor], mode: str) -> Callable[..., Tensor]:
    return function if mode == "eager" else torch.compile(function, mode=mode)
