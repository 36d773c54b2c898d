"""train.features as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rfsq_jax.features.store import FeatureStore
from rfsq_jax.runs.claims import LOCK
from tests.support.commands import refusal
from tests.support.fakes import Patches
from tests.support.features import demonstrations
from tests.support.processes import is_running, kill_when, wait_until
from train import features

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """The command on files of noise and the fake backbone; returns options to add to."""
    monkeypatch.setattr(features, "make_backbone", lambda *_: Patches())
    folder = demonstrations(tmp_path / "demos")
    return ["--images", str(folder), "--held-out=0.3", "--output", str(tmp_path / "out")]


def test_it_says_what_it_made(command, tmp_path, capsys):
    assert features.main([*command, "--stride=2", "--episodes=6"]) == 0
    printed = capsys.readouterr()
    store = FeatureStore.open(tmp_path / "out")
    assert f"{len(store)} frames of 6 episodes (2 held out)" in printed.out
    assert f"features: {tmp_path / 'out'}" in printed.out
    assert "features: 100%" in printed.err
    assert "MB" in printed.err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["config"]["stride"] == 2
    assert results["figures"]["now"]["frames"] == len(store)
    assert features.main([*command, "--stride=2", "--episodes=6"]) == 0
    assert f"{len(store)} frames of 6 episodes" in (again := capsys.readouterr().out)
    assert "; 0 frames now" in again


def test_a_config_file_of_a_policy_gives_its_features(command, tmp_path):
    config = ["--config", str(ROOT / "configs/small.py"), "--stride=3"]
    assert features.main([*config, *command]) == 0
    stored = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (stored["stride"], stored["dtype"]) == (3, "float16")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--strid=2", "--stride"),
        ("--split=test", "all.*train.*held_out"),
        ("--dtype=float64", "float16.*bfloat16"),
        ("--stride=two", "stride"),
    ],
)
def test_options_that_do_not_exist_end_it(command, capsys, option, message):
    with pytest.raises(SystemExit):
        features.main([*command, option])
    printed = " ".join(capsys.readouterr().err.split())
    for word in message.split(".*"):
        assert word in printed


def test_other_options_do_not_go_on_with_a_run(command, capsys):
    assert features.main([*command, "--stride=2"]) == 0
    line = refusal(features.main, [*command, "--stride=1"], capsys)
    assert "stride: there 2, here 1); give another --output" in line
    line = refusal(features.main, [*command, "--stride=2", "--dtype=bfloat16"], capsys)
    assert "dtype: there float16, here bfloat16" in line


def test_unknown_names_list_what_there_is(tmp_path, capsys):
    for option, message in (("--backbone=large", "small"), ("--tokenizer=liber", "libero")):
        assert message in refusal(features.main, [option, "--output", str(tmp_path)], capsys)


# Each thread stops behind its first shard.
STUCK = """
import sys
from rfsq_jax.features import extract
from tests.support.processes import wait_to_be_killed
from train import features

write = extract.write_shard
extract.write_shard = lambda *args, **kwargs: (write(*args, **kwargs), wait_to_be_killed())
features.main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_run_leaves_no_simulator_and_goes_on(tmp_path):
    options = "--suites=libero_object --episodes=4 --stride=40 --episodes-per-shard=1 --workers=2"
    arguments = [*options.split(), "--output", str(tmp_path)]
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    running = subprocess.Popen(
        [sys.executable, "-c", STUCK, *arguments],
        cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    simulators = kill_when(running, lambda: list(tmp_path.glob("shard-*/shard.json")))
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("shard-*/*")}
    assert simulators
    wait_until(lambda: not any(map(is_running, simulators)))
    done = subprocess.run(
        [sys.executable, "-m", "train.features", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Exception ignored" not in done.stderr
    assert all(path.stat().st_mtime_ns == then for path, then in finished.items())
    store = FeatureStore.open(tmp_path)
    assert len(np.unique(store.episode)) == 4
    assert [path.name for path in tmp_path.glob(".*")] == [LOCK]
