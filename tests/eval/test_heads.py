"""Runs of heads, side by side."""

import json

import numpy as np
import pytest

from eval import heads
from rfsq_jax.heads.config import HeadsConfig, TrunkConfig
from rfsq_jax.policies.files import save_policy
from rfsq_jax.runs.descriptions import sealed
from rfsq_jax.runs.json_files import write_json
from rfsq_jax.tokenizers.step import ActionTokenizer
from tests.conftest import smooth_actions
from tests.support.commands import refusal
from tests.support.feature_store import SPEC, make_store
from tests.support.policies import untrained_parts

LAYERS = {"main": [0.7, 0.4, 0.9], "majority_level": [0.2, 0.3, 0.9]}
ACTIONS = {"l1": 0.1, "translation_mm": 8.0, "rotation_deg": 0.9, "gripper_f1": 0.97}

# The features hold demonstrations of another suite than the bundled tokenizer was fitted on.
BEYOND_THE_RANGE = pytest.mark.filterwarnings(
    "ignore::rfsq_jax.data.action_range.OutOfRangeWarning"
)


def write_run(folder, accuracy, features="runs/features/small"):
    folder.mkdir()
    figures = {"actions": {"mode": ACTIONS}, "accuracy": accuracy}
    results = {"figures": figures, "config": {"features": {"output": features}}}
    write_json(folder / "results.json", sealed(results))
    return folder


def command(tmp_path, *runs):
    return ["--runs", *map(str, runs), "--output", str(tmp_path / "out")]


def test_every_run_gets_its_rows(tmp_path, capsys):
    tokens = {**LAYERS, "majority_level_of_dim": [0.3, 0.3, 0.9], "draft": [0.6]}
    runs = [write_run(tmp_path / "robust", tokens), write_run(tmp_path / "bins", {"main": 0.5})]
    assert heads.main(command(tmp_path, *runs)) == 0
    printed = capsys.readouterr().out
    assert "70.0%" in printed
    assert "bins" in printed
    assert "the reference expected 92-93 %" in printed
    assert (tmp_path / "out" / heads.PICTURE).read_bytes().startswith(b"\x89PNG")
    figures = json.loads((tmp_path / "out" / "results.json").read_text())["figures"]
    assert set(figures) == {"robust", "bins"}


def test_missing_runs_and_other_features_are_refused(tmp_path, capsys):
    run = write_run(tmp_path / "a", {})
    line = refusal(heads.main, command(tmp_path, run, tmp_path / "nothing"), capsys)
    assert "finish that run with train.heads" in line
    other = write_run(tmp_path / "b", {}, features="elsewhere")
    line = refusal(heads.main, command(tmp_path, run, other), capsys)
    assert "runs must be of one folder of features, got ['elsewhere', 'runs/" in line


@pytest.fixture
def measured(tmp_path):
    """A run with an untrained policy, its features, and more frames of the same episodes."""
    tokenizer = ActionTokenizer.from_pretrained("libero")
    pieces = np.stack([smooth_actions(8, seed) for seed in range(4)])
    split = {"suites": ["made up"], "seed": 0, "held_out": 0.5}
    for name, held_out in (("features", 8), ("more", 24)):
        store = make_store(tmp_path / name, tokenizer, pieces, 64, held_out)
        (tmp_path / name / "config.json").write_text(json.dumps(split))
    run = write_run(tmp_path / "robust", LAYERS, features=str(tmp_path / "features"))
    trunk = TrunkConfig(width=16, num_heads=2, num_blocks=1)
    config = HeadsConfig(main=trunk, draft=trunk)
    parts = untrained_parts(SPEC, config, tokenizer, store.state)
    save_policy(run / "policy", parts)
    return tmp_path


@BEYOND_THE_RANGE
def test_runs_are_measured_on_other_frames_of_the_same_episodes(measured):
    arguments = [*command(measured, measured / "robust"), "--held-out", str(measured / "more")]
    assert heads.main(arguments) == 0
    figures = json.loads((measured / "out" / "results.json").read_text())["figures"]
    assert figures["robust"]["frames"] == 24
    assert len(figures["robust"]["accuracy"]["main"]) == 8


def test_frames_that_the_runs_were_trained_on_are_refused(measured, capsys):
    (measured / "more" / "config.json").write_text(json.dumps({"suites": ["made up"], "seed": 1}))
    arguments = [*command(measured, measured / "robust"), "--held-out", str(measured / "more")]
    assert "held_out must be 0.5 as in" in refusal(heads.main, arguments, capsys)
