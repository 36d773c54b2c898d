"""Runs of heads, side by side."""

import json

import pytest

from eval import heads

LAYERS = {"main": [0.7, 0.4, 0.9], "commonest_level": [0.2, 0.3, 0.9]}
ACTIONS = {"l1": 0.1, "translation_mm": 8.0, "rotation_deg": 0.9, "gripper_f1": 0.97}


def write_run(folder, accuracy, features="runs/features/small"):
    folder.mkdir()
    figures = {"actions": {"argmax": ACTIONS}, "accuracy": accuracy}
    results = {"figures": figures, "config": {"features": {"output": features}}}
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def command(tmp_path, *runs):
    return ["--runs", *map(str, runs), "--output", str(tmp_path / "out")]


def test_every_run_gets_its_rows(tmp_path, capsys):
    tokens = {**LAYERS, "commonest_level_of_dim": [0.3, 0.3, 0.9], "draft": [0.6]}
    runs = [write_run(tmp_path / "robust", tokens), write_run(tmp_path / "bins", {"main": 0.5})]
    assert heads.main(command(tmp_path, *runs)) == 0
    printed = capsys.readouterr().out
    assert "70.0%" in printed
    assert "bins" in printed
    assert "the reference expected 92-93 %" in printed
    assert (tmp_path / "out" / heads.PICTURE).read_bytes().startswith(b"\x89PNG")
    figures = json.loads((tmp_path / "out" / "results.json").read_text())["figures"]
    assert set(figures) == {"robust", "bins"}


def test_missing_runs_and_other_features_are_refused(tmp_path):
    run = write_run(tmp_path / "a", {})
    with pytest.raises(SystemExit, match=r"finish that run with train\.heads"):
        heads.main(command(tmp_path, run, tmp_path / "nothing"))
    other = write_run(tmp_path / "b", {}, features="elsewhere")
    with pytest.raises(SystemExit, match="must share their features, got elsewhere, runs"):
        heads.main(command(tmp_path, run, other))
