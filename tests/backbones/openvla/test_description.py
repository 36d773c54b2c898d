"""config.json gives the sizes: transformers leaves out its defaults; what differs is named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from rfsq_jax.backbones.openvla.checkpoint import detect
from rfsq_jax.backbones.openvla.config import (
    OPENVLA_7B,
    OPENVLA_OFT_7B,
    TINY,
    LlamaConfig,
    OFTConfig,
)
from rfsq_jax.backbones.openvla.description import (
    FILE,
    describe,
    parse_description,
    read_description,
)

PUBLISHED: dict[str, Any] = {
    "arch_specifier": "no-align+fused-gelu-mlp",
    "architectures": ["OpenVLAForActionPrediction"],
    "hf_llm_id": "meta-llama/Llama-2-7b-hf",
    "image_resize_strategy": "resize-naive",
    "image_sizes": [224, 224],
    "llm_backbone_id": "llama2-7b-pure",
    "llm_max_length": 2048,
    "model_type": "openvla",
    "n_action_bins": 256,
    "pad_to_multiple_of": 64,
    "pad_token_id": 32000,
    "text_config": {
        "model_type": "llama",
        "pad_token_id": 32000,
        "torch_dtype": "bfloat16",
        "vocab_size": 32064,
    },
    "timm_model_ids": ["vit_large_patch14_reg4_dinov2.lvd142m", "vit_so400m_patch14_siglip_224"],
    "timm_override_act_layers": [None, None],
    "torch_dtype": "bfloat16",
    "use_fused_vision_backbone": True,
    "vision_backbone_id": "dinosiglip-vit-so-224px",
}


def changed(part: str | None, **fields: Any) -> dict[str, Any]:
    """The published description with other fields, in `part` or at the top."""
    if part is None:
        return PUBLISHED | fields
    return PUBLISHED | {part: PUBLISHED[part] | fields}


def test_the_published_file_is_the_published_sizes(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps(PUBLISHED))
    assert read_description(tmp_path) == detect(tmp_path) == OPENVLA_7B
    (tmp_path / "action_head--150000_checkpoint.pt").touch()
    assert detect(tmp_path) == dataclasses.replace(OPENVLA_7B, oft=OFTConfig(proprio=False))
    (tmp_path / "proprio_projector--150000_checkpoint.pt").touch()
    assert detect(tmp_path) == OPENVLA_OFT_7B


@pytest.mark.parametrize("config", [OPENVLA_7B, TINY])
def test_written_sizes_are_read(config: Any) -> None:
    assert parse_description(json.loads(json.dumps(describe(config)))) == config


def test_every_size_of_the_language_model_is_read() -> None:
    text = {
        "vocab_size": 640,
        "hidden_size": 96,
        "num_hidden_layers": 5,
        "num_attention_heads": 6,
        "num_key_value_heads": 6,
        "head_dim": 16,
        "intermediate_size": 33,
        "rms_norm_eps": 1e-5,
    }
    expected = LlamaConfig(640, 96, 5, 6, 33, rope_base=5e5, epsilon=1e-5)
    for rope in ({"rope_theta": 500000}, {"rope_parameters": {"rope_theta": 5e5}}):
        assert parse_description(changed("text_config", **text, **rope)).llama == expected


def test_defaults_are_those_of_transformers() -> None:
    oracle = pytest.importorskip("tests.support.openvla_oracle")
    theirs, ours = oracle.transformers.LlamaConfig(), parse_description(PUBLISHED).llama
    assert (ours.width, ours.mlp_width) == (theirs.hidden_size, theirs.intermediate_size)
    assert (ours.depth, ours.heads) == (theirs.num_hidden_layers, theirs.num_attention_heads)
    assert ours.epsilon == theirs.rms_norm_eps


@pytest.mark.parametrize(
    ("part", "fields", "message"),
    [
        (None, {"model_type": "llava"}, "model_type must be 'openvla', got 'llava'"),
        (None, {"text_config": None}, "text_config must be a table, got None"),
        (None, {"image_sizes": [224, 256]}, "image_sizes must be the same number twice"),
        (None, {"image_sizes": [100, 100]}, "image_size must be a multiple of 14, got 100"),
        (None, {"use_fused_vision_backbone": False}, "use_fused_vision_backbone must be True"),
        (None, {"arch_specifier": "linear"}, "arch_specifier must be 'no-align"),
        (None, {"timm_model_ids": ["vit_so400m_patch14_siglip_224"]}, "timm_model_ids must be"),
        (None, {"timm_model_ids": PUBLISHED["timm_model_ids"][::-1]}, "timm_model_ids must be"),
        ("text_config", {"hidden_size": "4096"}, "text_config.hidden_size must be a positive"),
        ("text_config", {"num_hidden_layers": 0}, "text_config.num_hidden_layers must be a pos"),
        ("text_config", {"num_key_value_heads": 8}, "num_key_value_heads must be 32 or left out"),
        ("text_config", {"head_dim": 64}, "text_config.head_dim must be 128 or left out, got 64"),
        ("text_config", {"rms_norm_eps": 0}, "text_config.rms_norm_eps must be a positive number"),
        ("text_config", {"rope_scaling": {"factor": 2}}, "rope_scaling must be None, got"),
        ("text_config", {"rope_parameters": {"rope_type": "yarn"}}, "rope_type must be 'default'"),
        ("text_config", {"tie_word_embeddings": True}, "tie_word_embeddings must be False"),
        ("text_config", {"hidden_act": "gelu"}, "text_config.hidden_act must be 'silu'"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, part: str | None, fields: dict[str, Any], message: str
) -> None:
    path = tmp_path / FILE
    path.write_text(json.dumps(changed(part, **fields)))
    with pytest.raises(ValueError, match=message) as caught:
        read_description(tmp_path)
    assert str(caught.value).startswith(str(path))


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        read_description(tmp_path)
    for text in ("{", "[]"):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(ValueError, match=r"config\.json.*(is not valid JSON|must be a table)"):
            read_description(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timm_model_ids": [["x"], {}]}, "timm_model_ids must be"),
        ({"image_sizes": [0, 0]}, r"image_sizes must be .* got \[0, 0\]"),
        ({"image_sizes": [224, 224.0]}, r"image_sizes must be .* got \[224, 224.0\]"),
        ({"image_sizes": [True, True]}, "image_sizes must be"),
        (
            {"text_config": {"model_type": "llama", "rms_norm_eps": 1e999}},
            "numbers must be finite, got Infinity",
        ),
        ({"text_config": {"model_type": "llama", "hidden_size": True}}, "hidden_size must be"),
    ],
)
def test_values_of_other_types_are_named(tmp_path: Path, changes: Any, message: str) -> None:
    (tmp_path / FILE).write_text(json.dumps(PUBLISHED | changes))
    with pytest.raises(ValueError, match=rf"config\.json.*{message}"):
        read_description(tmp_path)


@pytest.mark.parametrize("raw", [b"\xff", b"[" * 100_000, b'{"a": 1, "a": 2}', b""])
def test_files_that_are_no_json_are_named(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / FILE).write_bytes(raw)
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON: .+"):
        read_description(tmp_path)
