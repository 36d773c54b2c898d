"""The reference autoencoder as its authors run it: PyTorch, eager, one optimiser step per batch.

Written for timing only, from the description of the model: Linear 7-64, Mish, Linear 64-16, Tanh;
8 residual layers of 7 levels, robust with the mean and deviation of each token; Linear 16-64, Mish,
Linear 64-7; AdamW on the squared error. The reference's entropy term is left out, which
only flatters it: it has no gradient.

Axes: B chunks · T steps · A action dims · D latent dims · L residual layers · K levels.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import torch  # pyright: ignore[reportMissingImports]  # an optional extra
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]

EPSILON = 1e-5
LARGE_BATCH = 1024


class ReferenceAutoencoder(nn.Module):
    """Encoder, residual quantiser and decoder."""

    grid: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, robust: bool, num_layers: int = 8, num_levels: int = 7) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(7, 64), nn.Mish(), nn.Linear(64, 16), nn.Tanh())
        self.decoder = nn.Sequential(nn.Linear(16, 64), nn.Mish(), nn.Linear(64, 7))
        self.register_buffer("grid", torch.linspace(-1, 1, num_levels))
        self.register_buffer("mean", torch.zeros(16, num_layers))
        self.register_buffer("scale", torch.ones(16, num_layers))
        self.robust, self.num_layers = robust, num_layers

    def forward(self, actions: Tensor) -> Tensor:
        """Actions [B, T, A] through latents and codes and back."""
        latents = self.encoder(actions)
        quantized, _ = self.quantize(latents)
        return self.decoder(latents + (quantized - latents).detach())

    def quantize(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Latents [B, T, D] -> quantised latents and codes [B, T, D, L]."""
        residual, total, codes = latents, torch.zeros_like(latents), []
        for _ in range(self.num_layers):
            mean, scale = self._statistics(residual)
            distance = ((residual - mean) / scale).unsqueeze(-1) - self.grid
            code = distance.abs().argmin(dim=-1)
            value = self.grid[code] * scale + mean
            residual, total = residual - value, total + value
            codes.append(code)
        return total, torch.stack(codes, dim=-1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B, T, D, L] -> actions [B, T, A], with constants that a checkpoint would carry."""
        return self.decoder((self.grid[codes] * self.scale + self.mean).sum(dim=-1))

    def _statistics(self, residual: Tensor) -> tuple[Tensor | float, Tensor | float]:
        if not self.robust:
            return 0.0, 1.0
        mean = residual.mean(dim=-1, keepdim=True)
        return mean, residual.std(dim=-1, keepdim=True) + EPSILON


def training_work(
    robust: bool, chunks: np.ndarray, batch_size: int, steps: int, device: str
) -> Callable[[], int]:
    """Returns a function that takes `steps` optimiser steps on batches of chunks [M, T, A]."""
    model = ReferenceAutoencoder(robust).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    data = torch.from_numpy(chunks).to(device)

    def work() -> int:
        torch.set_num_threads(1)
        for _ in range(steps):
            batch = data[torch.randint(len(data), (batch_size,), device=device)]
            optimizer.zero_grad(set_to_none=True)
            nn.functional.mse_loss(model(batch), batch).backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        return steps

    return work


def coding_work(
    chunks: np.ndarray, repeats: int, device: str
) -> tuple[Callable[[], int], Callable[[], int]]:
    """Returns functions that encode and decode the chunks `repeats` times, numpy to numpy."""
    model = ReferenceAutoencoder(robust=True).to(device).eval()

    @torch.inference_mode()
    def encode() -> np.ndarray:
        latents = model.encoder(torch.from_numpy(chunks).to(device))
        return model.quantize(latents)[1].cpu().numpy()

    codes = encode()

    @torch.inference_mode()
    def decode() -> np.ndarray:
        return model.decode(torch.from_numpy(codes).to(device)).cpu().numpy()

    # More threads pay only for large batches; on a busy machine they make it ten times slower.
    threads = 1 if len(chunks) < LARGE_BATCH else os.cpu_count() or 1
    return _repeated(encode, repeats, threads), _repeated(decode, repeats, threads)


def _repeated(call: Callable[[], np.ndarray], repeats: int, threads: int) -> Callable[[], int]:
    def work() -> int:
        torch.set_num_threads(threads)
        for _ in range(repeats):
            call()
        return repeats

    return work
