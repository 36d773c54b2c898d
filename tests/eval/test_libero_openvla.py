"""OpenVLA in train.features, train.heads and eval.libero, tiny, as a user runs them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("simplejpeg")

from eval import libero
from rfsq_jax.backbones.openvla.options import OpenVLAOptions
from rfsq_jax.evaluation import libero as evaluation
from rfsq_jax.features.store import FeatureStore
from rfsq_jax.libero.tasks import data_set
from rfsq_jax.policies import Policy
from rfsq_jax.policies.token_policy import TokenPolicy
from tests.support.commands import refusal
from tests.support.evaluation import Sums
from tests.support.fakes import write_demonstrations
from tests.support.openvla_checkpoints import TINY, TINY_OFT, write_checkpoint
from train import features, heads

OF_OFT = ("--policy", "openvla-oft", "--checkpoint", "OFT")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "oft", TINY_OFT)


def play(options: Sequence[str], output: Path) -> tuple[int, dict[str, Any]]:
    short = ("--tasks", "0", "--trials", "1", "--workers", "1", "--video", "none")
    code = libero.main([*short, *options, "--output", str(output)])
    path = output / "results.json"
    return code, json.loads(path.read_text()) if path.exists() else {}


def test_the_original_oft_plays_its_chunks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "LiberoSimulator", Sums)
    options = ["--policy", "openvla-oft", "--checkpoint", str(folder)]
    options += ["--step-limit", "12", "--batch", "2"]
    code, results = play(options, tmp_path / "a")
    figures = results["figures"]
    assert code == 0
    policy = figures["policy"]
    assert (policy["name"], policy["backbone"]) == ("openvla-oft", "openvla-oft")
    assert (policy["kind"], policy["horizon"]) == ("l1", 8)
    assert policy["statistics"] == "libero_spatial"
    assert (figures["protocol"]["execute"], figures["protocol"]["image_size"]) == (8, 256)
    assert figures["rows_independent"]
    (episode,) = figures["episodes"]
    assert (episode["steps"], episode["chunks"]) == (12, 2)
    assert figures["time"]["policy"].keys() == {"preprocess", "backbone", "act"}
    assert results["config"]["checkpoint"] == str(folder)
    _, again = play(options, tmp_path / "b")
    digests = [each["figures"]["episodes"][0]["actions_sha256"] for each in (results, again)]
    assert digests[0] == digests[1]


def test_the_original_base_is_asked_at_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "LiberoSimulator", Sums)
    folder = write_checkpoint(tmp_path / "base", TINY)
    options = ["--policy", "openvla", "--checkpoint", str(folder)]
    code, results = play([*options, "--step-limit", "4"], tmp_path / "run")
    figures = results["figures"]
    assert (code, figures["policy"]["kind"], figures["protocol"]["execute"]) == (0, "tokens", 1)
    assert figures["episodes"][0]["chunks"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--policy", "openvla-oft"], "path must be the folder of a checkpoint"),
        (["--policy", "openvla", "--checkpoint", "OFT"], "must be a checkpoint of openvla, got"),
        ([*OF_OFT, "--mode", "speculative"], "mode must"),
        (
            [*OF_OFT, "--suite", "libero_goal"],
            "key must be one of libero_spatial_no_noops, got 'libero_goal'",
        ),
        (
            [*OF_OFT, "--suite", "libero_spatial", "libero_object"],
            "suite must be of one data set for an original model",
        ),
        (["--checkpoint", "OFT"], "path must not be given: small has weights"),
        ([*OF_OFT, "--backbone-options", "jpeg", "False"], "backbone_options must be without jpeg"),
    ],
)
def test_what_cannot_be_played_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: Any, message: str
) -> None:
    options = [str(folder) if each == "OFT" else each for each in options]
    assert message in refusal(lambda options: play(options, tmp_path / "run"), options, capsys)
    assert not (tmp_path / "run").exists()


def test_variants_of_a_suite_have_its_statistics() -> None:
    assert data_set(("libero_spatial", "libero_spatial_swap")) == "libero_spatial"
    assert data_set(("libero_10",)) == "libero_10"


def test_a_missing_decoder_is_named_before_anything_is_played(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "simplejpeg" else find(name)
    )
    options = ["--policy", "openvla-oft", "--checkpoint", str(folder)]
    line = refusal(lambda options: play(options, tmp_path / "run"), options, capsys)
    assert 'pip install "rfsq-jax[openvla]"' in line
    assert not (tmp_path / "run").exists()


def test_a_policy_keeps_what_does_not_hang_on_its_training_pictures() -> None:
    assert OpenVLAOptions().kept({"jpeg": False, "early_layer": 2}) == {"early_layer": 2}


# Made-up demonstrations fill the robot's whole range.
@pytest.mark.filterwarnings("ignore::rfsq_jax.data.action_range.OutOfRangeWarning")
@pytest.mark.slow
def test_heads_on_oft_from_pictures_to_an_episode(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demos = tmp_path / "put_it_here_demo.hdf5"
    write_demonstrations(demos, (21, 30, 14, 25, 9, 12))
    shared = [
        "--backbone=openvla-oft",
        f"--checkpoint={folder}",
        "--backbone-options",
        "early_layer",
        "2",
    ]
    shared += [f"--images={demos}", "--held-out=0.4", f"--output={tmp_path / 'features'}"]
    assert features.main([*shared, "--episodes=6", "--stride=4", "--batch-size=4"]) == 0
    store = FeatureStore.open(tmp_path / "features")
    assert store.manifest.backbone == "openvla-oft"
    assert {name: depth.tokens for name, depth in store.manifest.depths.items()} == {
        "early": 56,
        "final": 56,
    }
    config = tmp_path / "policy.py"
    config.write_text(CONFIG.format(folder=folder, output=tmp_path))
    assert heads.main(["--config", str(config)]) == 0
    trained = tmp_path / "heads" / "policy"
    with pytest.raises(ValueError, match="path must be the folder"):
        Policy.from_pretrained(trained)
    exits = TokenPolicy.from_pretrained(trained, checkpoint=folder)
    assert exits.parts.backbone_options == {"early_layer": 2}
    monkeypatch.setattr(evaluation, "LiberoSimulator", Sums)
    options = ["--policy", str(trained), "--checkpoint", str(folder), "--step-limit", "9"]
    code, results = play([*options, "--mode", "speculative"], tmp_path / "run")
    assert code == 0
    assert results["figures"]["policy"]["backbone_version"] == exits.backbone.spec.version
    assert results["figures"]["draft"]["questions"] == 2


CONFIG = """
from pathlib import Path
from rfsq_jax.features.config import FeaturesRun
from rfsq_jax.heads.config import HeadsConfig, TrunkConfig
from rfsq_jax.training.heads.training import PolicyRun
from rfsq_jax.training.heads.training import HeadsTraining
from rfsq_jax.training.loop import LoopConfig

TRUNK = TrunkConfig(width=16, num_heads=2, num_blocks=1)


def get_config():
    return PolicyRun(
        features=FeaturesRun(
            backbone="openvla-oft",
            checkpoint=Path("{folder}"),
            backbone_options={{"early_layer": 2}},
            output=Path("{output}/features"),
        ),
        training=HeadsTraining(
            model=HeadsConfig(main=TRUNK, draft=TRUNK),
            loop=LoopConfig(steps=4, steps_per_call=2, evaluate_every=4),
            batch_size=8,
        ),
        output=Path("{output}/heads"),
    )
"""


def test_the_config_for_oft_is_one_of_train_features(folder: Path, tmp_path: Path) -> None:
    demos = tmp_path / "put_it_here_demo.hdf5"
    write_demonstrations(demos, (21, 14))
    options = ["--config", str(ROOT / "configs/openvla_oft.py"), f"--checkpoint={folder}"]
    options += [f"--images={demos}", "--held-out=0.4", "--suites"]
    assert features.main([*options, f"--output={tmp_path / 'out'}"]) == 0
    store = FeatureStore.open(tmp_path / "out")
    assert store.manifest.dtype == "bfloat16"
    assert np.isfinite(store.gather("early", np.arange(2)).astype(np.float32)).all()
    stored = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "backbone_options" not in stored
    assert "checkpoint" not in stored


@pytest.mark.slow
def test_the_original_oft_in_the_true_simulator(folder: Path, tmp_path: Path) -> None:
    options = ["--policy", "openvla-oft", "--checkpoint", str(folder)]
    code, results = play([*options, "--step-limit", "10"], tmp_path)
    assert code == 0
    (episode,) = results["figures"]["episodes"]
    assert (episode["steps"], episode["chunks"], episode["initial_state"]) == (10, 2, 0)
