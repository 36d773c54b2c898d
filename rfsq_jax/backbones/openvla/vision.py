"""DINOv2 and SigLIP side by side: images to tokens.

Axes: B batch · N images per sample · H, W pixels · C 6 channels, DINO's three first · P patches ·
S tokens of a tower, its prefix first · E width.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rfsq_jax.backbones.openvla import spreading
from rfsq_jax.backbones.openvla.config import OpenVLAConfig, VitConfig
from rfsq_jax.backbones.openvla.layers import (
    VIT_EPSILON,
    along,
    attend,
    gelu_mlp,
    layer_norm,
    linear,
    run_stack,
    split_heads,
)


def see(
    params: dict[str, Any],
    config: OpenVLAConfig,
    pixels: Float[Array, "b n h w 6"],
    remat: bool = False,
) -> Float[Array, "b p e"]:
    """Normalised pixels -> image tokens as wide as both towers, image after image."""
    flat = pixels.reshape(-1, *pixels.shape[2:])
    towers = [
        vit(params["dino"], config.dino, patchify(flat[..., :3], config.patch), remat),
        vit(params["siglip"], config.siglip, patchify(flat[..., 3:], config.patch), remat),
    ]
    tokens = jnp.concatenate(towers, axis=-1)
    return tokens.reshape(len(pixels), -1, tokens.shape[-1])


def patchify(images: Float[Array, "b h w 3"], size: int) -> Float[Array, "b p c"]:
    """Squares row by row, each flattened as (row, column, channel)."""
    batch, height, width, _ = images.shape
    grid = images.reshape(batch, height // size, size, width // size, size, 3)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size * 3)


def vit(
    params: dict[str, Any],
    config: VitConfig,
    patches: Float[Array, "b p c"],
    remat: bool = False,
) -> Float[Array, "b p e"]:
    """The patches' tokens after the penultimate block, without a final norm."""
    x = linear(params["patch"], spreading.images(patches))
    x = x + along_batch(params["positions"], x)
    if config.prefix:
        # Class and registers have no position of their own.
        prefix = jnp.concatenate([params["cls"], params["registers"]])
        x = jnp.concatenate([along_batch(prefix, x), x], axis=1)

    def step(x: Array, block: dict[str, Any]) -> tuple[Array, None]:
        return spreading.images(_block(block, config.heads, x)), None

    x, _ = run_stack(jax.checkpoint(step) if remat else step, x, params["blocks"])
    return spreading.images(x[:, config.prefix :])


def along_batch(tokens: Float[Array, "s e"], x: Float[Array, "b s2 e"]) -> Float[Array, "b s e"]:
    """The same tokens for every sample of x."""
    return jnp.broadcast_to(tokens[None], (len(x), *tokens.shape))


def _block(params: dict[str, Any], heads: int, x: Float[Array, "b s e"]) -> Float[Array, "b s e"]:
    normed = layer_norm(params["norm1"], x, VIT_EPSILON)
    qkv = jnp.einsum("bse,eif->bsif", normed, params["qkv"]["kernel"])
    qkv = qkv + jnp.broadcast_to(params["qkv"]["bias"], qkv.shape)
    q, k, v = (split_heads(qkv[:, :, i], heads) for i in range(3))
    attended = attend(q, k, v)
    x = x + _scaled(params, "ls1", linear(params["proj"], attended.reshape(x.shape)))
    hidden = gelu_mlp(params["mlp"], layer_norm(params["norm2"], x, VIT_EPSILON))
    return x + _scaled(params, "ls2", hidden)


def _scaled(params: dict[str, Any], name: str, x: Float[Array, "b s e"]) -> Float[Array, "b s e"]:
    """DINO's LayerScale; SigLIP has none."""
    return x * along(params[name], x) if name in params else x
