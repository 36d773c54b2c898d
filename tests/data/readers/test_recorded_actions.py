"""What counts as a file of actions, and what is said about one that does not."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from rfsq_jax.data.readers.recorded_actions import read_actions
from tests.support.recorded_actions import smooth_episodes, write_actions


@pytest.fixture(scope="module")
def episodes():
    return smooth_episodes()


def test_one_array_with_lengths_or_ends_and_one_array_per_episode_read_alike(tmp_path, episodes):
    lengths = np.array([len(episode) for episode in episodes])
    together = np.concatenate(episodes)
    np.savez(tmp_path / "a.npz", actions=together, lengths=lengths)
    np.savez(tmp_path / "b.npz", actions=together, episode_ends=np.cumsum(lengths))
    np.savez(tmp_path / "c.npz", **{f"e{i:03d}": episode for i, episode in enumerate(episodes)})
    for name in ("a", "b", "c"):
        found = read_actions(tmp_path / f"{name}.npz")
        for sequence, episode in zip(found, episodes, strict=True):
            np.testing.assert_array_equal(sequence.actions, episode)


@pytest.mark.parametrize("dims", [1, 6, 14])
def test_any_number_of_dims_is_read(tmp_path, dims):
    one, other = np.ones((5, dims), np.float32), np.zeros((3, dims), np.float32)
    np.savez(tmp_path / "a.npz", one=one, other=other)
    np.savez(tmp_path / "b.npz", actions=np.concatenate([one, other]), lengths=[5, 3])
    for name in ("a", "b"):
        found = read_actions(tmp_path / f"{name}.npz")
        np.testing.assert_array_equal(found[0].actions, one)
        np.testing.assert_array_equal(found[1].actions, other)


def test_episodes_of_different_dims_are_refused(tmp_path):
    np.savez(tmp_path / "bad.npz", first=np.zeros((5, 7)), second=np.zeros((5, 6)))
    with pytest.raises(ValueError, match=r"bad.npz: second must have 7 dims, as first has, got 6"):
        read_actions(tmp_path / "bad.npz")


def test_a_libero_file_is_read_in_the_order_of_its_numbers(tmp_path, episodes):
    path = tmp_path / "task_demo.hdf5"
    with h5py.File(path, "w") as file:
        for index, episode in enumerate(episodes):
            _write_demo(file, index, episode)
    found = read_actions(path)
    for sequence, episode in zip(found, episodes, strict=True):
        np.testing.assert_array_equal(sequence.actions, episode)
        assert sequence.actions.dtype == np.float32


def test_a_missing_file_and_an_unknown_kind_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz does not exist"):
        read_actions(tmp_path / "none.npz")
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(ValueError, match=r"expected one of .*'\.npz'.*, got '\.csv'"):
        read_actions(tmp_path / "a.csv")


@pytest.mark.parametrize("kept", [0, 10, 0.3, 0.9])
def test_a_truncated_npz_is_an_error_of_one_line(tmp_path, episodes, kept):
    content = write_actions(tmp_path / "whole.npz", episodes).read_bytes()
    path = tmp_path / "cut.npz"
    path.write_bytes(content[: int(kept if kept >= 1 else kept * len(content))])
    with pytest.raises(ValueError, match=r"cut\.npz is not a whole NPZ file"):
        read_actions(path)


def test_a_truncated_hdf5_is_an_error_of_one_line(tmp_path, episodes):
    path = tmp_path / "cut.hdf5"
    with h5py.File(path, "w") as file:
        _write_demo(file, 0, episodes[0])
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"cut\.hdf5 is damaged"):
        read_actions(path)


def test_files_without_actions_are_refused(tmp_path):
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(ValueError, match="expected actions, got an empty archive"):
        read_actions(tmp_path / "empty.npz")
    np.savez(tmp_path / "lengths.npz", lengths=[3])
    with pytest.raises(ValueError, match="expected an array 'actions', got"):
        read_actions(tmp_path / "lengths.npz")
    with h5py.File(tmp_path / "none.hdf5", "w") as file:
        file["observations"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"none\.hdf5 is .*not laid out like LIBERO"):
        read_actions(tmp_path / "none.hdf5")


def test_pickled_objects_are_refused(tmp_path):
    objects = np.empty(1, object)
    objects[0] = {"actions": 1}
    np.savez(tmp_path / "objects.npz", actions=objects)
    with pytest.raises(ValueError, match="NPZ file of plain arrays"):
        read_actions(tmp_path / "objects.npz")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((5, 0)), r"shape \[N, A\], got \(5, 0\)"),
        (np.zeros((2, 5, 7)), r"shape \[N, A\], got \(2, 5, 7\)"),
        (np.zeros((0, 7)), r"shape \[N, A\], got \(0, 7\)"),
        (np.zeros((5, 7), int), "floating point, got int64"),
        (np.full((5, 7), np.nan), "finite, got NaN or inf at step 0"),
        (np.full((5, 7), 1e300), "finite, got NaN or inf at step 0"),
        (np.full((5, 7), "0"), "floating point, got <U1"),
    ],
)
def test_arrays_that_are_no_actions_are_refused(tmp_path, values, message):
    np.savez(tmp_path / "bad.npz", first=values)
    with pytest.raises(ValueError, match=f"first must (have|be) {message}"):
        read_actions(tmp_path / "bad.npz")
    np.savez(tmp_path / "bad.npz", actions=values, lengths=[5])
    with pytest.raises(ValueError, match=f"actions must (have|be) {message}"):
        read_actions(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    "lengths",
    [
        *([3, 3], [3, 8], [11, -1], [0, 10], [], [5.0, 5.0], [[5, 5]], [True] * 10, ["10"]),
        np.array([5, 2**64 - 2, 7], np.uint64),
    ],
)
def test_lengths_that_do_not_split_the_steps_are_refused(tmp_path, lengths):
    np.savez(tmp_path / "bad.npz", actions=np.zeros((10, 7)), lengths=lengths)
    with pytest.raises(ValueError, match="lengths must split 10 steps into episodes"):
        read_actions(tmp_path / "bad.npz")


def test_ends_that_fall_are_refused(tmp_path):
    ends = np.array([5, 3, 10], np.uint64)
    np.savez(tmp_path / "bad.npz", actions=np.zeros((10, 7)), episode_ends=ends)
    with pytest.raises(ValueError, match=r"bad.npz: episode_ends must split 10 steps"):
        read_actions(tmp_path / "bad.npz")


def test_lengths_of_what_are_no_steps_are_refused(tmp_path):
    np.savez(tmp_path / "bad.npz", actions=np.zeros(()), lengths=[1])
    with pytest.raises(ValueError, match=r"bad.npz: actions must have shape \[N, A\], got \(\)"):
        read_actions(tmp_path / "bad.npz")


def _write_demo(file: h5py.File, index: int, actions: np.ndarray) -> None:
    demo = file.create_group(f"data/demo_{index}")
    demo["actions"] = actions.astype(np.float64)
    demo["obs/ee_states"] = np.zeros((len(actions), 6))
    demo["obs/gripper_states"] = np.zeros((len(actions), 2))
