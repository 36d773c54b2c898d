"""Checkpoints: latest and best, and what happens when they do not fit or are damaged."""

import errno
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rfsq_jax.runs.checks import DamagedError
from rfsq_jax.runs.descriptions import sealed
from rfsq_jax.training.checkpoint_files import FILES, RUN
from rfsq_jax.training.checkpoints import Checkpoints, _disk_errors


def state_of(value, width=3):
    return jax.device_put({"params": {"kernel": jnp.full((2, width), value)}, "step": jnp.int32(1)})


def test_latest_and_best_are_kept(tmp_path):
    with Checkpoints(tmp_path, "error") as checkpoints:
        assert checkpoints.latest_step is None
        assert checkpoints.best_step is None
        for step, error in enumerate([3.0, 1.0, 2.0, 2.5]):
            checkpoints.save(step, state_of(float(step)), {"error": error})
    with Checkpoints(tmp_path, "error") as checkpoints:
        assert checkpoints.latest_step == 3
        assert checkpoints.best_step == 1
        best = checkpoints.restore(1, state_of(0.0))
        np.testing.assert_array_equal(best["params"]["kernel"], np.ones((2, 3)))
    assert {path.name for path in tmp_path.iterdir()} == {"1", "3", RUN}


def test_a_state_of_another_shape_is_named(tmp_path):
    with Checkpoints(tmp_path, "error") as checkpoints:
        checkpoints.save(0, state_of(1.0), {"error": 1.0})
        message = r"params/kernel expected float32\[2, 4\], got float32\[2, 3\]"
        with pytest.raises(ValueError, match=message):
            checkpoints.restore(0, state_of(1.0, width=4))
        with pytest.raises(ValueError, match=r"extra expected float32\[\], got nothing"):
            checkpoints.restore(0, {**state_of(1.0), "extra": jnp.zeros(())})


def cut_files(folder, chosen):
    paths = [path for path in folder.rglob("*") if path.is_file() and chosen(path)]
    assert paths
    for path in paths:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# A read that Orbax has given up answers when its event loop is closed, if the loop is slow.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_damaged_arrays_are_named(tmp_path):
    with Checkpoints(tmp_path, "error") as checkpoints:
        checkpoints.save(5, state_of(1.0), {"error": 1.0})
    cut_files(tmp_path / "5", lambda path: path.parent.name == "d")
    with (
        Checkpoints(tmp_path, "error") as checkpoints,
        pytest.raises(ValueError, match=r"step 5 in .* is damaged"),
    ):
        checkpoints.restore(5, state_of(1.0))


# Orbax leaves an event loop behind when its constructor fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_damaged_metrics_are_named(tmp_path):
    with Checkpoints(tmp_path, "error") as checkpoints:
        checkpoints.save(5, state_of(1.0), {"error": 1.0})
    cut_files(tmp_path / "5", lambda path: "metrics" in path.parts[-2:])
    with pytest.raises(ValueError, match=r"step 5 in .* is damaged \(metrics"):
        Checkpoints(tmp_path, "error")


def test_an_unfinished_save_is_not_a_checkpoint(tmp_path):
    with Checkpoints(tmp_path, "error") as checkpoints:
        checkpoints.save(5, state_of(1.0), {"error": 1.0})
    (tmp_path / "6.orbax-checkpoint-tmp").mkdir()
    with Checkpoints(tmp_path, "error") as checkpoints:
        assert checkpoints.latest_step == 5


def damaged(folder, read):
    """What is said when a folder of checkpoints is opened and read."""
    with pytest.raises(DamagedError) as error, Checkpoints(folder, "error") as checkpoints:
        read(checkpoints)
    return str(error.value)


@pytest.mark.parametrize("listed", [True, False], ids=["", "killed before its files were listed"])
def test_changed_figures_and_arrays_are_noticed(tmp_path, listed):
    with Checkpoints(tmp_path, "error") as checkpoints:
        checkpoints.save(5, state_of(1.0), {"error": 1.0})
    if not listed:
        (tmp_path / "5" / FILES).unlink()
    path = tmp_path / "5" / "_CHECKPOINT_METADATA"
    text = path.read_text()
    path.write_text(text.replace('"error": 1.0', '"error": 0.5'))
    said = damaged(tmp_path, lambda checkpoints: checkpoints.best_step)
    assert ("_CHECKPOINT_METADATA was altered" if listed else "its record is damaged") in said
    record = json.loads(text)["custom_metadata"]
    record["checksums"] = dict.fromkeys(record["checksums"], 0)
    path.write_text(json.dumps({**json.loads(text), "custom_metadata": sealed(record)}))
    said = damaged(tmp_path, lambda checkpoints: checkpoints.restore(5, state_of(1.0)))
    assert ("_CHECKPOINT_METADATA was altered" if listed else "its arrays: ") in said


def test_a_checkpoint_of_another_run_is_noticed(tmp_path):
    for name in ("one", "other"):
        with Checkpoints(tmp_path / name, "error") as checkpoints:
            checkpoints.save(5, state_of(1.0), {"error": 1.0})
    shutil.rmtree(tmp_path / "one" / "5")
    shutil.copytree(tmp_path / "other" / "5", tmp_path / "one" / "5")
    said = damaged(tmp_path / "one", lambda found: found.restore(5, state_of(1.0)))
    assert "it was saved by run" in said
    (tmp_path / "one" / RUN).unlink()
    assert "run.json is missing" in damaged(tmp_path / "one", lambda found: None)


@pytest.mark.parametrize("name", ["state/_sharding", "state/_METADATA", "metrics/metrics"])
def test_what_orbax_trusts_is_compared_first(tmp_path, name):
    with Checkpoints(tmp_path, "error") as checkpoints:
        checkpoints.save(5, state_of(1.0), {"error": 1.0})
    (tmp_path / "5" / name).write_text("[" * 100_000)
    assert f"{name} was altered" in damaged(tmp_path, lambda found: None)
    (tmp_path / "5" / name).unlink()
    assert "no file at" in damaged(tmp_path, lambda found: None)


def test_a_full_disk_is_an_error_of_the_disk(tmp_path):
    with pytest.raises(OSError, match="No space left on device") as error, _disk_errors(tmp_path):
        raise ValueError("RESOURCE_EXHAUSTED: Failed [os_error_code='28']")
    assert error.value.errno == errno.ENOSPC
    with pytest.raises(ValueError, match="something else"), _disk_errors(tmp_path):
        raise ValueError("something else")
