"""Workers on a Ray cluster play as local ones do, and a lost machine costs nothing but time."""

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rfsq_jax.evaluation.log import EpisodeLog
from rfsq_jax.runs.checks import NotInstalledError
from rfsq_jax.runs.clusters import place_of
from tests.support.evaluation import evaluate, outcomes, trials_of
from tests.support.run_in_processes import PATIENCE, wait_for

ROOT = Path(__file__).parents[2]
EPISODES = 60
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"
)


def python(*arguments, **options):
    """Starts a module of tests.support; the cluster's processes find what this one imports."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    environment |= {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DEDUP_LOGS": "0"}
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, cwd=ROOT, text=True, **options)


@pytest.fixture(scope="module")
def cluster():
    """Two machines; gives the address, and what makes one of them fail."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with python("tests.support.ray_nodes", **pipes) as nodes:
        told, read = nodes.stdin, nodes.stdout
        assert told is not None
        assert read is not None
        said = iter(read.readline, "")
        address = next(line.strip() for line in said if line.strip().count(".") == 3)

        def lose():
            told.write("lose\n")
            told.flush()
            assert any(line.strip() == "lost" for line in said)

        yield address, lose
        told.close()
        assert nodes.wait(PATIENCE) == 0


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """How the episodes end with local workers."""
    records, errors, _ = evaluate(tmp_path_factory.mktemp("local"), trials_of(2, EPISODES // 2))
    assert not errors
    return outcomes(records)


def play(folder, address, gate):
    options = (folder, address, EPISODES, gate)
    return python("tests.support.ray_run", *options, stdout=subprocess.PIPE)


@pytest.mark.slow
@needs_ray
def test_a_killed_driver_goes_on_and_a_lost_machine_loses_no_episode(cluster, expected, tmp_path):
    address, lose = cluster
    folder, gate = tmp_path / "run", tmp_path / "gate"
    with play(folder, address, gate) as driver:
        wait_for(folder / "actions", [driver])
        driver.kill()
    finished = len(EpisodeLog(folder / "episodes.jsonl").records)
    assert finished < EPISODES
    with play(folder, address, gate) as driver:
        wait_until_more(folder, finished, driver)
        lose()
        gate.touch()
        said, _ = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 0
    assert outcomes(EpisodeLog(folder / "episodes.jsonl").records) == expected
    kills = int(said.rpartition("kills: ")[2])
    assert kills == 1, said


def wait_until_more(folder, finished, driver):
    while len(EpisodeLog(folder / "episodes.jsonl").records) <= finished:
        assert driver.poll() is None


def test_without_ray_its_option_is_refused(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotInstalledError, match=r"install rfsq-jax\[ray\]"), place_of("auto"):
        pass


@needs_ray
def test_no_cluster_is_an_error_of_the_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    message = f"ray must be the address of a cluster, got {address}: .*refused"
    with pytest.raises(ValueError, match=message), place_of(address):
        pass
