"""Real commands, ended from outside: one line, a code, and nothing half written."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rfsq_jax.runs.claims import hold_folder
from rfsq_jax.training.checkpoint_files import check_files
from tests.support.processes import wait_until

TRAIN = (
    *("-m", "train.ae", "--suites=libero_goal", "--against=None", "--training.batch-size=16"),
    *("--training.loop.steps=4000000", "--training.loop.steps-per-call=20"),
    "--training.loop.evaluate-every=40",
)
KEPT = "what was finished is kept, and the same command goes on from there"


def start(output: Path) -> subprocess.Popen[str]:
    command = [sys.executable, *TRAIN, f"--output={output}"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def last_line(process: subprocess.Popen[str]) -> str:
    """What a command says in the end, behind its progress bar; no traceback comes before."""
    _, said = process.communicate()
    assert "Traceback" not in said, said
    return said.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        # Ctrl-C of a smaller command is in tests/runs/test_commands.py.
        pytest.param(signal.SIGINT, 130, "interrupted", marks=pytest.mark.slow),
        (signal.SIGTERM, 143, "terminated (SIGTERM)"),
    ],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_training_that_is_told_to_end_keeps_its_checkpoints(tmp_path, number, code, says):
    process = start(tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    wait_until(lambda: process.poll() is not None or (checkpoints / "40").exists())
    process.send_signal(number)
    assert last_line(process) == f"train.ae: {says}; {KEPT}"
    assert process.returncode == code
    check_files(checkpoints)
    with hold_folder(tmp_path / "run"):
        pass


def test_a_full_disk_is_one_line(tmp_path):
    process = start(tmp_path / "run")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
    line = last_line(process)
    assert process.returncode == 1, line
    assert line.startswith("train.ae: [Errno 27] File too large")
    assert line.endswith(KEPT)
    check_files(tmp_path / "run" / "checkpoints")


def test_a_second_run_is_told_who_the_first_is(tmp_path):
    with hold_folder(tmp_path):
        process = start(tmp_path)
        line = last_line(process)
    assert process.returncode == 2
    assert line.startswith(f"train.ae: {tmp_path} is in use by process ")


def test_an_output_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "run").write_text("mine")
    process = start(tmp_path / "run")
    line = last_line(process)
    assert process.returncode == 2
    assert line.startswith("train.ae: output must be a folder that can be written to, got ")
    assert (tmp_path / "run").read_text() == "mine"
