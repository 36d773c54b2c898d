"""Sizes out of a checkpoint's config.json.

transformers leaves out fields that have its own defaults, which are those of `LlamaConfig`; the
vision towers are named by their timm ids only.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rfsq_jax.backbones.openvla.config import (
    DINO,
    SIGLIP,
    TINY,
    LlamaConfig,
    OpenVLAConfig,
    VitConfig,
)
from rfsq_jax.runs.checks import require
from rfsq_jax.runs.json_files import read_json

FILE = "config.json"
TOWERS: tuple[dict[str, VitConfig], dict[str, VitConfig]] = (
    {"vit_large_patch14_reg4_dinov2.lvd142m": DINO, "vit_tiny_patch14_reg4_dinov2": TINY.dino},
    {"vit_so400m_patch14_siglip_224": SIGLIP, "vit_tiny_patch14_siglip_56": TINY.siglip},
)
"""The DINO and the SigLIP towers by timm id; the tiny ones are for tests."""

SIZES = {
    "vocab_size": "vocabulary",
    "hidden_size": "width",
    "num_hidden_layers": "depth",
    "num_attention_heads": "heads",
    "intermediate_size": "mlp_width",
}
# A model with another value of these would load, and be another model.
FIXED = {
    "arch_specifier": "no-align+fused-gelu-mlp",
    "use_fused_vision_backbone": True,
}
FIXED_TEXT = {
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "rope_scaling": None,
}


def read_description(folder: Path) -> OpenVLAConfig:
    """Returns the sizes of a checkpoint's base model; what OFT adds has files of its own.

    Raises:
      ValueError: if config.json is missing, damaged, or that of another model; the message names
        the file, the field, what was expected and what was got.
    """
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"{path} is missing: {folder} is no checkpoint of OpenVLA")
    table = read_json(path)
    try:
        return parse_description(table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse_description(table: Any) -> OpenVLAConfig:
    """As `read_description`, from what the file holds."""
    require(isinstance(table, dict), "it", "a table", table)
    require(
        table.get("model_type") == "openvla", "model_type", "'openvla'", table.get("model_type")
    )
    _check_fixed(table, FIXED, "")
    text = table.get("text_config")
    require(isinstance(text, dict), "text_config", "a table", text)
    dino, siglip = _towers(table.get("timm_model_ids"))
    return OpenVLAConfig(
        dino=dino, siglip=siglip, llama=_llama(text), image_size=_image_size(table)
    )


def describe(config: OpenVLAConfig) -> dict[str, Any]:
    """The inverse of `parse_description`: what config.json says of a base model."""
    llama = config.llama
    ids = [
        next(name for name, known in names.items() if known == vit)
        for names, vit in zip(TOWERS, (config.dino, config.siglip), strict=True)
    ]
    text = {theirs: getattr(llama, ours) for theirs, ours in SIZES.items()}
    text |= {"model_type": "llama", "rms_norm_eps": llama.epsilon, "rope_theta": llama.rope_base}
    return {
        "model_type": "openvla",
        **FIXED,
        "image_sizes": [config.image_size] * 2,
        "timm_model_ids": ids,
        "text_config": text,
    }


def _towers(ids: Any) -> tuple[VitConfig, VitConfig]:
    known = [" or ".join(tower) for tower in TOWERS]
    fits = isinstance(ids, list) and len(ids) == len(TOWERS)
    fits = fits and all(
        isinstance(name, str) and name in tower for name, tower in zip(ids, TOWERS, strict=True)
    )
    require(fits, "timm_model_ids", f"[{known[0]}, {known[1]}]", ids)
    return TOWERS[0][ids[0]], TOWERS[1][ids[1]]


def _image_size(table: dict[str, Any]) -> int:
    sizes = table.get("image_sizes")
    if (
        not isinstance(sizes, list)
        or len(sizes) != 2
        or any(type(size) is not int for size in sizes)
        or not 0 < sizes[0] == sizes[1]
    ):
        raise ValueError(f"image_sizes must be the same number twice, got {sizes!r}")
    return sizes[0]


def _llama(text: dict[str, Any]) -> LlamaConfig:
    default = LlamaConfig()
    _check_fixed(text, FIXED_TEXT, "text_config.")
    sizes = {ours: text.get(theirs, getattr(default, ours)) for theirs, ours in SIZES.items()}
    for theirs, ours in SIZES.items():
        whole = type(sizes[ours]) is int and sizes[ours] > 0
        require(whole, f"text_config.{theirs}", "a positive whole number", sizes[ours])
    for name, size in (
        ("num_key_value_heads", sizes["heads"]),
        ("head_dim", sizes["width"] // sizes["heads"]),
    ):
        given = text.get(name)
        require(given in (None, size), f"text_config.{name}", f"{size} or left out", given)
    epsilon = _positive(text, "rms_norm_eps", default.epsilon)
    return LlamaConfig(**sizes, rope_base=_rope_base(text, default.rope_base), epsilon=epsilon)


def _rope_base(text: dict[str, Any], default: float) -> float:
    # transformers 5 moved it into a table of its own.
    rope = text.get("rope_parameters")
    if rope is None:
        return _positive(text, "rope_theta", default)
    require(isinstance(rope, dict), "text_config.rope_parameters", "a table", rope)
    kind = rope.get("rope_type", "default")
    require(kind == "default", "text_config.rope_parameters.rope_type", "'default'", kind)
    return _positive(rope, "rope_theta", default)


def _positive(table: dict[str, Any], name: str, default: float) -> float:
    value = table.get(name, default)
    fits = type(value) in (int, float) and 0 < value < math.inf
    require(fits, f"text_config.{name}", "a positive number", value)
    return float(value)


def _check_fixed(table: dict[str, Any], fixed: dict[str, Any], prefix: str) -> None:
    for name, value in fixed.items():
        given = table.get(name, value)
        require(given == value, f"{prefix}{name}", repr(value), given)
