"""train.ae as a user runs it: small, killed, resumed, refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rfsq_jax import ActionTokenizer
from rfsq_jax.libero.demonstrations.bundled import load_bundled
from tests.support.commands import refusal
from tests.support.processes import kill_when
from train import ae

ROOT = Path(__file__).parents[2]
SMALL = [
    "--training.loop.steps=400",
    "--training.loop.steps-per-call=100",
    "--training.loop.evaluate-every=100",
    "--suites=libero_object",
]


def options(output):
    config = str(ROOT / "configs" / "robust.py")
    return ["--config", config, *SMALL, "--output", str(output)]


def command(output):
    return [sys.executable, "-m", "train.ae", *options(output)]


def environment():
    return {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    output = tmp_path_factory.mktemp("ae")
    done = subprocess.run(
        command(output), cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    return output, done.stdout


def test_it_leaves_what_it_promises(finished):
    output, printed = finished
    assert "naive" in printed
    assert "robust" in printed
    assert (output / ae.PICTURE).read_bytes().startswith(b"\x89PNG")
    figures = json.loads((output / "results.json").read_text())["figures"]
    assert len(figures["robust"]["prefixes"]) == 8
    assert figures["robust"]["largest_difference"] == 0.0
    assert figures["robust"]["from_tokens"] == figures["robust"]["forward"]
    np.testing.assert_allclose(figures["naive"]["health"]["perplexity"][1:], 1.0, atol=1e-3)
    assert figures["robust"]["from_tokens"]["mse"] < figures["naive"]["from_tokens"]["mse"]


def test_its_tokenizer_stands_alone(finished):
    output, _ = finished
    tokenizer = ActionTokenizer.from_pretrained(output / "tokenizer")
    chunk = load_bundled("libero_object")[0].actions[:8]
    assert np.abs(tokenizer.decode(tokenizer.encode(chunk)) - chunk).max() < 1.0


def test_the_same_command_again_changes_nothing(finished):
    output, _ = finished
    weights = (output / "tokenizer" / "weights.npz").read_bytes()
    subprocess.run(command(output), cwd=ROOT, env=environment(), capture_output=True, check=True)
    assert (output / "tokenizer" / "weights.npz").read_bytes() == weights


# It stops behind its first checkpoint.
STUCK = """
import sys
from rfsq_jax.training.checkpoints import Checkpoints
from tests.support.processes import wait_to_be_killed
from train import ae

save = Checkpoints.save
Checkpoints.save = lambda *args: (save(*args), wait_to_be_killed())
ae.main(sys.argv[1:])
"""


# Faster tests of the same: tests/training/autoencoder, where a run is stopped by an error.
@pytest.mark.slow
def test_killed_and_started_again_it_ends_the_same(finished, tmp_path):
    output, _ = finished
    running = subprocess.Popen(
        [sys.executable, "-c", STUCK, *options(tmp_path)], cwd=ROOT, env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    kill_when(running, (tmp_path / "naive" / "checkpoints" / "100").exists)
    assert not (tmp_path / "results.json").exists()
    subprocess.run(command(tmp_path), cwd=ROOT, env=environment(), capture_output=True, check=True)
    for name in ("tokenizer", "naive/tokenizer"):
        weights = [folder / name / "weights.npz" for folder in (output, tmp_path)]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_another_config_does_not_continue_a_run(finished, capsys):
    output, _ = finished
    line = refusal(ae.main, [*options(output), "--training.batch-size=32"], capsys)
    assert "training.batch_size: there 64, here 32" in line


def test_an_unknown_suite_lists_what_is_bundled(tmp_path, capsys):
    line = refusal(ae.main, ["--suites", "libero_moon", "--output", str(tmp_path)], capsys)
    assert "libero_object, libero_spatial" in line
    assert "got 'libero_moon'" in line
