"""One run at a time in a folder, and always the same one."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from rfsq_jax.runs import claims
from rfsq_jax.runs.claims import CONFIG, LOCK, FolderInUseError, claim_folder, hold_folder
from tests.support.processes import kill_when

HOLD = """
import sys
from pathlib import Path
from rfsq_jax.runs.claims import claim_folder, hold_folder
from tests.support.processes import wait_to_be_killed

with hold_folder(Path(sys.argv[1])):
    claim_folder(Path(sys.argv[1]), {"steps": 3})
    (Path(sys.argv[1]) / "ready").touch()
    wait_to_be_killed()
"""


@dataclasses.dataclass(frozen=True)
class Inner:
    steps: int = 10


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()


def test_a_folder_belongs_to_one_config(tmp_path):
    claim_folder(tmp_path, dataclasses.asdict(Outer()))
    claim_folder(tmp_path, dataclasses.asdict(Outer()))
    with pytest.raises(ValueError, match=r"inner\.steps: there 10, here 11"):
        claim_folder(tmp_path, dataclasses.asdict(Outer(Inner(11))))


def test_a_second_run_is_told_who_the_first_is_and_a_dead_one_is_followed(tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), "--lots"])

    def refused():
        with pytest.raises(FolderInUseError) as error, hold_folder(folder):
            pass
        return str(error.value)

    def ready():
        return (folder / "ready").exists()

    def check_and_go():
        if not ready():
            return False
        message = refused()
        assert f"is in use by process {process.pid} on " in message
        assert f"--lots, since {json.loads((folder / LOCK).read_text())['since']}" in message
        return True

    kill_when(process, check_and_go)
    with hold_folder(folder):
        claim_folder(folder, {"steps": 3})
        assert json.loads((folder / LOCK).read_text())["process"] == os.getpid()


def test_one_process_cannot_hold_it_twice_and_gives_it_back(tmp_path):
    with hold_folder(tmp_path):
        claim_folder(tmp_path, {})
        with pytest.raises(FolderInUseError, match=str(os.getpid())), hold_folder(tmp_path):
            pass
    with hold_folder(tmp_path):
        assert (tmp_path / CONFIG).exists()
    assert (tmp_path / LOCK).read_bytes() == b""


def test_a_run_that_was_refused_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="an option"), hold_folder(tmp_path / "new"):
        raise ValueError("an option")
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with hold_folder(tmp_path / "old"):
        pass
    assert list((tmp_path / "old").iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, name):
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(ValueError, match="output must be a folder that can be written to, got"),
        hold_folder(tmp_path / name),
    ):
        pass
    assert (tmp_path / "file").read_text() == "x"


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(claims.NO_LOCKS[0], "No locks available")

    monkeypatch.setattr(claims.fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="cannot be locked"), hold_folder(tmp_path):
        pass


@pytest.mark.parametrize("content", ["", "{", '{"process": 1}', "3"])
def test_a_lock_that_is_not_signed_yet_still_holds(tmp_path, content):
    with hold_folder(tmp_path):
        (tmp_path / LOCK).write_text(content)
        with pytest.raises(FolderInUseError, match="in use by another run"), hold_folder(tmp_path):
            pass
