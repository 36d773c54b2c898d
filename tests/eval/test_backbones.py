"""The probe that chose the small backbone's grid, on a handful of drawn-up scenes."""

import json

import numpy as np
import pytest

from eval import backbones
from eval.studies import position_probe
from rfsq_jax.backbones.small import SmallConfig


@pytest.fixture
def scenes():
    rng = np.random.default_rng(0)
    goal = rng.uniform(0, 1, (40, 2)).astype(np.float32)
    images = np.zeros((40, 2, 64, 64, 3), np.uint8)
    for image, (x, y) in zip(images, goal, strict=True):
        row, column = int(56 * y), int(56 * x)
        image[:, row : row + 8, column : column + 8] = 255
    return position_probe.Scenes(images, np.zeros((40, 8), np.float32), goal, ["find it"] * 40)


def test_it_finds_a_white_square_and_leaves_its_figures(scenes, tmp_path, monkeypatch, capsys):
    candidate = SmallConfig(resolution=64, early_stage=2, final_stage=3, grid=4)
    monkeypatch.setattr(backbones, "CANDIDATES", (candidate,))
    monkeypatch.setattr(backbones, "render_scenes", lambda config: scenes)
    assert backbones.main(["--steps=100", f"--output={tmp_path}"]) == 0
    assert "median mm" in capsys.readouterr().out
    figures = json.loads((tmp_path / "results.json").read_text())["figures"]
    row = figures["grids"][0]
    assert row["rmse_mm"] < 0.9 * row["rmse_of_the_mean_mm"]
    assert row["images_per_second"] > 0
    assert figures["words"]["largest_cosine"] < 0.98


def test_options_validate_themselves():
    with pytest.raises(ValueError, match="placements must be at least 1"):
        position_probe.ProbeConfig(placements=0)
