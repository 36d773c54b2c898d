"""LIBERO's HDF5 files, made with the layout and types of the public ones."""

import h5py
import numpy as np
import pytest

from rfsq_jax.data.readers.libero_hdf5 import read_hdf5
from tests.support.demonstrations import write_original


def test_original_files_are_read_in_the_order_of_their_numbers(tmp_path):
    path = tmp_path / "LIVING_ROOM_SCENE2_put_the_milk_in_the_basket_demo.hdf5"
    write_original(path)
    episodes = read_hdf5(path, images=True)
    assert [episode.state[0, 0] for episode in episodes] == list(range(11))
    assert episodes[0].instruction == "put the milk in the basket"
    assert episodes[0].actions.dtype == np.float32
    images = episodes[0].images
    assert images is not None
    with h5py.File(path) as file:
        raw = np.asarray(file["data/demo_0/obs/eye_in_hand_rgb"])
    np.testing.assert_array_equal(images["robot0_eye_in_hand"], np.rot90(raw, 2, axes=(1, 2)))


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "task_demo.hdf5"
    write_original(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"task_demo\.hdf5 is damaged"):
        read_hdf5(path)
    path.write_bytes(b"not HDF5 at all")
    with pytest.raises(ValueError, match=r"task_demo\.hdf5 is damaged"):
        read_hdf5(path)


def test_a_file_with_another_layout_is_named(tmp_path):
    path = tmp_path / "task_demo.hdf5"
    with h5py.File(path, "w") as file:
        file["data/demo_0/actions"] = np.zeros((3, 7))
    with pytest.raises(ValueError, match=r"task_demo.hdf5 is damaged or not laid out"):
        read_hdf5(path)
    with pytest.raises(FileNotFoundError, match="no_such"):
        read_hdf5(tmp_path / "no_such.hdf5")
