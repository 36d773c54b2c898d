"""The train.draft command on a small untrained policy."""

import json

import jax
import numpy as np
import pytest

from rfsq_jax.heads.config import HeadsConfig, TrunkConfig
from rfsq_jax.policies import loading
from rfsq_jax.policies.files import load_policy, save_policy
from rfsq_jax.policies.parts import PolicyParts
from tests.support.commands import refusal
from tests.support.fakes import Patches
from tests.support.feature_store import SPEC, make_store
from tests.support.policies import untrained_parts
from tests.support.tokenizers import untrained_tokenizer
from train import draft as command

SMALL = TrunkConfig(width=16, num_heads=2, num_blocks=1)
SHORT = ["--training.loop.steps", "20", "--training.loop.steps-per-call", "10"]
SHORT += ["--training.loop.evaluate-every", "20", "--training.batch-size", "8"]


@pytest.fixture
def options(chunks, tmp_path, monkeypatch, one_device) -> list[str]:
    """A policy and features on disk, and the options that name them."""
    tokenizer = untrained_tokenizer(chunks)
    store = make_store(tmp_path / "features", tokenizer, chunks[::37][:4], 96, 48)
    config = HeadsConfig(main=SMALL, draft=SMALL)
    parts = untrained_parts(SPEC, config, tokenizer, store.state)
    save_policy(tmp_path / "policy", parts)
    monkeypatch.setattr(loading, "camera_backbone", lambda *_: Patches(SPEC))
    places = ["--policy", str(tmp_path / "policy"), "--features", str(tmp_path / "features")]
    return [*places, "--output", str(tmp_path / "run"), *SHORT]


def test_the_command_writes_a_policy_with_another_draft_and_a_threshold(options, tmp_path):
    assert command.main(options) == 0
    before, after = (load_policy(tmp_path / place) for place in ("policy", "run/policy"))
    jax.tree.map(np.testing.assert_array_equal, before.params["main"], after.params["main"])
    kernels = [parts.params["draft"]["coarse_out"]["kernel"] for parts in (before, after)]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-3
    figures = json.loads((tmp_path / "run" / "results.json").read_text())["figures"]
    assert after.threshold == pytest.approx(figures["after"]["threshold"])
    assert figures["before"]["main_error"] == pytest.approx(figures["after"]["main_error"])


def test_a_policy_without_a_draft_is_refused(options, tmp_path, capsys):
    parts = load_policy(tmp_path / "policy")
    config = HeadsConfig(main=SMALL, draft=None)
    params = {"main": parts.params["main"]}
    changed = {**vars(parts), "config": config, "params": params}
    save_policy(tmp_path / "policy", PolicyParts(**changed))
    line = refusal(command.main, options, capsys)
    assert line.startswith("train.draft: policy must have token heads with a draft")
