"""A policy on disk: what is saved is what is loaded, and nothing else is."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from rfsq_jax.heads.config import CodeShape, HeadsConfig
from rfsq_jax.policies import Policy
from rfsq_jax.policies.token_policy import TokenPolicy
from rfsq_jax.tokenizers.step import StepTokenizer
from tests.support.descriptions import as_first_format, change
from tests.support.fakes import Patches
from tests.support.policies import SMALL, make_parts, observe, tokenizer


@pytest.fixture(scope="module")
def policy():
    return TokenPolicy(make_parts(), Patches())


def test_damaged_files_are_named(policy, tmp_path):
    with pytest.raises(FileNotFoundError, match="no policy 'nothing'"):
        Policy.from_pretrained("nothing")
    folder = tmp_path / "p"
    policy.save_pretrained(folder)
    weights = folder / "weights.npz"
    content = weights.read_bytes()
    weights.write_bytes(content[:-20])
    with pytest.raises(ValueError, match="is damaged"):
        Policy.from_pretrained(folder, backbone=Patches())
    weights.write_bytes(content)
    path = folder / "policy.json"
    config = json.loads(path.read_text())["config"]
    change(path, config={**config, "main": {**config["main"], "width": 32}})
    with pytest.raises(ValueError, match="does not fit its config"):
        Policy.from_pretrained(folder, backbone=Patches())
    change(path, format_version=99)
    with pytest.raises(ValueError, match="format version 99"):
        Policy.from_pretrained(folder, backbone=Patches())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": "high"}, "threshold must be a valid number, got 'high'"),
        ({"state": {"mean": [0.0] * 8}}, "state.std is missing"),
        ({"format_version": -5}, "no format_version of 1 or more"),
        (
            {"backbone": {"name": "patches", "version": 7, "options": {}}},
            "backbone.version must be",
        ),
        ({"backbone": None}, "backbone must be an object, got None"),
        ({"weights": "elsewhere"}, "weights is unknown"),
        ({"tokenizer_sha256": "0" * 64}, "was saved with a tokenizer of sha256 0000"),
    ],
)
def test_a_description_that_no_policy_has_is_named(policy, tmp_path, changes, message):
    policy.save_pretrained(tmp_path / "p")
    change(tmp_path / "p" / "policy.json", **changes)
    with pytest.raises(ValueError, match=rf"policy\.json.*{message}"):
        Policy.from_pretrained(tmp_path / "p", backbone=Patches())


def test_every_change_of_the_description_is_noticed(policy, tmp_path):
    policy.save_pretrained(tmp_path / "p")
    path = tmp_path / "p" / "policy.json"
    description = json.loads(path.read_text())
    for key, value in description.items():
        for other in ([value], {"x": value}, "other"):
            path.write_text(json.dumps({**description, key: other}))
            with pytest.raises(ValueError, match=r"policy\.json"):
                Policy.from_pretrained(tmp_path / "p", backbone=Patches())
        path.write_text(json.dumps({k: v for k, v in description.items() if k != key}))
        with pytest.raises(ValueError, match=r"policy\.json"):
            Policy.from_pretrained(tmp_path / "p", backbone=Patches())


def test_a_tokenizer_of_another_policy_is_noticed(policy, tmp_path):
    policy.save_pretrained(tmp_path / "p")
    shutil.rmtree(tmp_path / "p" / "tokenizer")
    other = dataclasses.replace(tokenizer().space, horizon=tokenizer().horizon)
    moved = jax.tree.map(lambda leaf: leaf + 1e-3, tokenizer().params)
    StepTokenizer(tokenizer().config, moved, tokenizer().state, other).save_pretrained(
        tmp_path / "p" / "tokenizer"
    )
    with pytest.raises(ValueError, match="was saved with a tokenizer of sha256"):
        Policy.from_pretrained(tmp_path / "p", backbone=Patches())


def test_saving_a_policy_leaves_other_files_alone(policy, tmp_path):
    policy.save_pretrained(tmp_path / "p")
    (tmp_path / "p" / "notes.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"holds other files \(notes\.txt\)"):
        policy.save_pretrained(tmp_path / "p")
    with pytest.raises(ValueError, match="holds other files"):
        tokenizer().save_pretrained(tmp_path / "p")
    assert (tmp_path / "p" / "notes.txt").read_text() == "years of work"
    TokenPolicy.from_pretrained(tmp_path / "p", backbone=Patches())


def test_heads_of_actions_keep_a_normalisation_and_no_tokenizer(tmp_path):
    config = HeadsConfig(kind="bins", main=SMALL, draft=None)
    policy = TokenPolicy(make_parts(config, None), Patches())
    policy.save_pretrained(tmp_path / "p")
    assert {path.name for path in (tmp_path / "p").iterdir()} == {"policy.json", "weights.npz"}
    loaded = TokenPolicy.from_pretrained(tmp_path / "p", backbone=Patches())
    assert loaded.version == policy.version
    np.testing.assert_array_equal(loaded.act(observe()), policy.act(observe()))


@pytest.mark.parametrize("kind", ["tokens", "bins"])
def test_policies_of_the_first_format_still_load(tmp_path, kind):
    config = HeadsConfig(kind=kind, main=SMALL, draft=None, point_estimate="mode")
    policy = TokenPolicy(make_parts(config, None), Patches())
    folder = tmp_path / "p"
    policy.save_pretrained(folder)
    tokenizer().save_pretrained(folder / "tokenizer")
    description = json.loads((folder / "policy.json").read_text())
    del description["space"], description["backbone"]["options"], description["shape"]["horizon"]
    del description["config"]["point_estimate"], description["shape"]["tokens"]
    description["shape"]["codes"] = dataclasses.asdict(CodeShape.of(tokenizer()))
    description["config"]["readout"] = "argmax"
    description.pop("tokenizer_sha256", None)
    as_first_format(folder / "policy.json", description)
    loaded = TokenPolicy.from_pretrained(folder, backbone=Patches())
    assert loaded.parts.config == config
    np.testing.assert_array_equal(loaded.act(observe()), policy.act(observe()))
