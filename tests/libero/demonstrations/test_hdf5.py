import h5py
import numpy as np
import pytest

from rfsq_jax.data.readers.libero_hdf5 import read_hdf5
from rfsq_jax.libero.demonstrations.hdf5 import (
    merge_hdf5,
    read_attempts,
    read_demonstrations,
    write_hdf5,
)
from tests.support.demonstrations import assert_same, make_demonstration, write_original


def stored(path, name) -> np.ndarray:
    """An array of the first demonstration, as it lies in the file."""
    with h5py.File(path) as file:
        item = file[f"data/demo_0/{name}"]
        assert isinstance(item, h5py.Dataset)
        return item[()]


def test_our_files_give_back_every_demonstration(tmp_path):
    path = tmp_path / "task_demo.hdf5"
    written = [make_demonstration(seed, num_steps=3 + seed, images=True) for seed in range(3)]
    write_hdf5(path, written)
    for got, expected in zip(read_demonstrations(path), written, strict=True):
        assert_same(got, expected)
    for episode, expected in zip(read_hdf5(path, images=True), written, strict=True):
        np.testing.assert_array_equal(episode.actions, expected.actions)
        np.testing.assert_array_equal(episode.state, expected.state)
        assert episode.instruction == "put the cube on the plate"
        assert episode.images is not None
        assert expected.trace is not None
        np.testing.assert_array_equal(
            episode.images["agentview"], expected.trace.images["agentview"]
        )


def test_our_files_have_the_original_layout(tmp_path):
    path = tmp_path / "task_demo.hdf5"
    demonstration = make_demonstration(0, images=True)
    write_hdf5(path, [demonstration])
    trace = demonstration.trace
    assert trace is not None
    with h5py.File(path) as file:
        attributes = dict(file["data/demo_0"].attrs)
    assert attributes["num_samples"] == 6
    np.testing.assert_array_equal(attributes["init_state"], trace.simulator_states[0])
    shapes = {name: stored(path, name).shape for name in ("actions", "states", "robot_states")}
    assert shapes == {"actions": (6, 7), "states": (6, 11), "robot_states": (6, 9)}
    assert stored(path, "actions").dtype == np.float64
    assert stored(path, "dones").tolist() == [0, 0, 0, 0, 0, 1]
    assert stored(path, "obs/ee_states").shape == (6, 6)
    # Upside down, as OpenGL gives it.
    np.testing.assert_array_equal(
        stored(path, "obs/agentview_rgb")[0], trace.images["agentview"][0, ::-1, ::-1]
    )


def test_original_files_cannot_be_replayed(tmp_path):
    path = tmp_path / "task_demo.hdf5"
    write_original(path)
    with pytest.raises(ValueError, match=r"task_demo.hdf5 must be written by train.demos"):
        read_demonstrations(path)


def test_merging_keeps_the_order(tmp_path):
    written = [make_demonstration(seed, images=True) for seed in range(3)]
    parts = [tmp_path / f"{number}.hdf5" for number in range(3)]
    for part, demonstration in zip(parts, written, strict=True):
        write_hdf5(part, [demonstration])
    merge_hdf5(tmp_path / "all.hdf5", parts, attempts=5)
    for got, expected in zip(read_demonstrations(tmp_path / "all.hdf5"), written, strict=True):
        assert_same(got, expected)
    assert read_attempts(tmp_path / "all.hdf5") == 5


def test_a_file_holds_one_task(tmp_path):
    demonstrations = [make_demonstration(0, task=1), make_demonstration(0, task=2)]
    with pytest.raises(ValueError, match="one task"):
        write_hdf5(tmp_path / "x.hdf5", demonstrations)
    assert list(tmp_path.iterdir()) == []
