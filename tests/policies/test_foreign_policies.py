"""A policy folder of others opens and downloads nothing that the caller did not name."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rfsq_jax.backbones.openvla import backbone as openvla
from rfsq_jax.heads.config import HeadsConfig, TrunkConfig
from rfsq_jax.policies import Policy
from rfsq_jax.policies.files import save_policy
from tests.support.fakes import SPEC
from tests.support.policies import untrained_parts
from tests.support.tokenizers import untrained_tokenizer

TRUNK = TrunkConfig(width=16, num_heads=2, num_blocks=1)


@pytest.fixture(scope="module")
def parts():
    actions = np.random.default_rng(0).uniform(-1, 1, (64, 8, 7)).astype(np.float32)
    return untrained_parts(SPEC, HeadsConfig(main=TRUNK), untrained_tokenizer(actions))


@pytest.fixture(autouse=True)
def _nothing_is_looked_for(monkeypatch):
    def refuse(*asked: Any, **_: Any) -> Any:
        pytest.fail(f"{asked} was looked for")

    monkeypatch.setattr(openvla, "resolve_checkpoint", refuse)
    monkeypatch.setattr(openvla, "require_decoder", lambda: None)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("name", ["../x", "/etc", "owner/name", "openvla/openvla-7b", ""])
def test_a_backbone_is_a_known_name_and_no_place(tmp_path: Path, parts, name):
    save_policy(tmp_path / "p", dataclasses.replace(parts, backbone=name))
    with pytest.raises(ValueError, match=r"backbone must be one of openvla, openvla-oft, small"):
        Policy.from_pretrained(tmp_path / "p")


@pytest.mark.parametrize("backbone", ["small", "openvla", "openvla-oft"])
@pytest.mark.parametrize("option", ["path", "checkpoint", "weights", "folder", "name"])
def test_no_option_of_a_backbone_is_a_place(tmp_path: Path, parts, backbone, option):
    options = {option: "/etc"}
    written = dataclasses.replace(parts, backbone=backbone, backbone_options=options)
    save_policy(tmp_path / "p", written)
    with pytest.raises(ValueError, match=f"option must be one of .*, got '{option}'"):
        Policy.from_pretrained(tmp_path / "p")


@pytest.mark.parametrize("backbone", ["openvla", "openvla-oft"])
@pytest.mark.parametrize("options", [{}, {"statistics": "/etc/passwd"}, {"statistics": "../x"}])
def test_weights_are_the_callers_to_name(tmp_path: Path, parts, backbone, options):
    written = dataclasses.replace(parts, backbone=backbone, backbone_options=options)
    save_policy(tmp_path / "p", written)
    with pytest.raises(ValueError, match=f"path must be the folder of a checkpoint of {backbone}"):
        Policy.from_pretrained(tmp_path / "p")
