"""Demonstrations of ours are as they were written, or refused."""

import h5py
import numpy as np
import pytest

from rfsq_jax.data.readers.libero_hdf5 import read_hdf5
from rfsq_jax.libero.demonstrations.hdf5 import merge_hdf5, read_demonstrations, write_hdf5
from rfsq_jax.runs.checks import DamagedError
from tests.support.demonstrations import make_demonstration
from tests.support.hdf5 import as_first_format


def flip(file, name):
    """Changes one bit where the values are stored."""
    values = file[name][()]
    values.reshape(-1).view(np.uint8)[0] ^= 1
    file[name][()] = values


CHANGES = {
    "label": lambda file: flip(file, "data/demo_0/actions"),
    "sensor": lambda file: flip(file, "data/demo_0/obs/ee_pos"),
    "start": lambda file: file["data/demo_0"].attrs.modify("seed", 7),
    "task": lambda file: file["data"].attrs.modify("instruction", "do something else"),
    "hash": lambda file: file["data/demo_0"].attrs.__delitem__("sha256"),
    "more": lambda file: file["data/demo_0"].create_dataset("more", data=np.zeros(3)),
    "circle": lambda file: file["data/demo_0"].__setitem__("me", file["data/demo_0"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_a_demonstration_is_noticed(tmp_path, change):
    path = tmp_path / "task_demo.hdf5"
    write_hdf5(path, [make_demonstration(0, images=True)])
    merge_hdf5(tmp_path / "merged.hdf5", [path, path], attempts=2)
    for each in (path, tmp_path / "merged.hdf5"):
        assert read_hdf5(each)[0].source == f"{each.name}/demo_0"
        with h5py.File(each, "r+") as file:
            CHANGES[change](file)
        for read in (read_hdf5, read_demonstrations):
            with pytest.raises(DamagedError, match="demo_0"):
                read(each)


@pytest.mark.parametrize("merged", [False, True])
def test_images_have_checksums(tmp_path, merged):
    path = tmp_path / "task_demo.hdf5"
    write_hdf5(path, [make_demonstration(0, images=True)])
    if merged:
        merge_hdf5(path, [path], attempts=1)
    with h5py.File(path, "r") as file:
        chunk = file["data/demo_0/obs/agentview_rgb"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    # Behind the beginning of the compressed stream, so that only the checksum tells.
    content[chunk.byte_offset + chunk.size - 1] ^= 1
    path.write_bytes(content)
    read_demonstrations(path)
    with pytest.raises(ValueError, match="agentview_rgb cannot be read"):
        read_hdf5(path, images=True)


def test_files_of_the_first_format_are_read(tmp_path):
    path = tmp_path / "task_demo.hdf5"
    write_hdf5(path, [make_demonstration(0)])
    expected = read_demonstrations(path)[0].actions
    as_first_format(path)
    np.testing.assert_array_equal(read_demonstrations(path)[0].actions, expected)
