"""Images read from files: only those that are used, the same from both formats."""

import dataclasses
import importlib.util

import h5py
import numpy as np
import pytest

from rfsq_jax.data.readers.jpeg import DecoderMissingError
from rfsq_jax.data.readers.rlds import read_rlds
from rfsq_jax.features.frames import choose_frames, load_episodes
from rfsq_jax.features.images import stored_images
from rfsq_jax.libero.demonstrations import hdf5
from tests.support.fakes import write_demonstrations
from tests.support.features import make, run_of
from tests.support.rlds_folders import write_folder

WORDS = "put it here"


def write_both(folder) -> None:
    """The same episodes as an RLDS folder and as an HDF5 file."""
    episodes = write_folder(folder / "rlds", num_shards=2, instructions=(WORDS,))
    with h5py.File(folder / "put_it_here_demo.hdf5", "w") as file:
        for number, steps in enumerate(episodes):
            group = file.create_group(f"data/demo_{number}")
            group["actions"] = steps["action"].astype(np.float64)
            group["obs/ee_states"] = steps["state"][:, :6].astype(np.float64)
            group["obs/gripper_states"] = steps["state"][:, 6:].astype(np.float64)
            # As OpenGL gives them: RLDS has them turned already.
            group["obs/agentview_rgb"] = np.rot90(steps["image"], 2, axes=(1, 2))
            group["obs/eye_in_hand_rgb"] = np.rot90(steps["wrist_image"], 2, axes=(1, 2))


def test_both_formats_give_the_same_features(tmp_path):
    write_both(tmp_path)
    stores = [
        make(run_of(tmp_path, images=(tmp_path / name,), output=tmp_path / f"out-{name}"))
        for name in ("rlds", "put_it_here_demo.hdf5")
    ]
    assert stores[0].manifest.to_dict() == stores[1].manifest.to_dict()
    rows = stores[0].rows("all")
    for name in ("state", "actions", "episode", "frame", "held_out", "instruction"):
        np.testing.assert_array_equal(getattr(stores[0], name), getattr(stores[1], name))
    for depth in stores[0].manifest.depths:
        first, second = (store.gather(depth, rows) for store in stores)
        np.testing.assert_array_equal(first, second)


def test_images_are_those_of_the_whole_episode(tmp_path):
    write_both(tmp_path)
    paths = tmp_path / "rlds", tmp_path / "put_it_here_demo.hdf5"
    for path, read in zip(paths, (read_rlds, hdf5.read_hdf5), strict=True):
        run = run_of(tmp_path, images=(path,))
        episodes = {each.source: each for each in read(path, images=True)}
        for clip in choose_frames(run, load_episodes(run)):
            images = episodes[clip.source.episode.source].images
            assert images is not None
            got = stored_images(clip)
            assert got.shape == (len(clip.frames), 2, 8, 8, 3)
            for place, camera in enumerate(("agentview", "robot0_eye_in_hand")):
                np.testing.assert_array_equal(got[:, place], images[camera][clip.frames])


def test_several_sources_are_read_in_turn(tmp_path):
    write_both(tmp_path)
    run = run_of(tmp_path, images=(tmp_path / "rlds", tmp_path / "put_it_here_demo.hdf5"))
    found = load_episodes(run)
    assert len(found) == 10
    assert found[0].group != found[5].group


def with_views(folder, **views):
    """A file whose last demonstration has other images."""
    path = folder / "odd_demo.hdf5"
    write_demonstrations(path, (20, 20, 20))
    with h5py.File(path, "a") as file:
        for name, images in views.items():
            for number in range(3):
                del file[f"data/demo_{number}/obs/{name}"]
                file[f"data/demo_{number}/obs/{name}"] = images
    return path


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((20, 4, 4, 3), np.uint8), r"images of one size, got \(8, 8, 3\), \(4, 4, 3\)"),
        (np.zeros((5, 8, 8, 3), np.uint8), "must have images of all steps"),
    ],
)
def test_images_that_do_not_fit_are_named(tmp_path, images, message):
    path = with_views(tmp_path, eye_in_hand_rgb=images)
    with pytest.raises(ValueError, match=rf"odd_demo\.hdf5/demo_\d .*{message}"):
        make(run_of(tmp_path, images=(path,)))


def test_only_jpeg_files_are_taken_for_jpeg_files(tmp_path, monkeypatch):
    """Pixels of HDF5 went through none; the PNG files of the RLDS folder are none."""
    write_both(tmp_path)
    options = {"backbone": "openvla-oft", "backbone_options": {"jpeg": False}}
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(DecoderMissingError, match="simplejpeg"):
            make(run_of(tmp_path, images=(tmp_path / "rlds",), **options))
    assert not (tmp_path / "features").exists()
    pytest.importorskip("simplejpeg")
    with pytest.raises(ValueError, match="holds no JPEG files"):
        make(run_of(tmp_path, images=(tmp_path / "put_it_here_demo.hdf5",), **options))
    with pytest.raises(ValueError, match=r"the picture of step .* cannot be decoded"):
        make(run_of(tmp_path, images=(tmp_path / "rlds",), output=tmp_path / "other", **options))


def test_folders_without_demonstrations_are_refused(tmp_path):
    run = dataclasses.replace(run_of(tmp_path), images=(tmp_path,))
    with pytest.raises(FileNotFoundError, match="HDF5 files or RLDS folders, got"):
        load_episodes(run)
    run = dataclasses.replace(run, images=(tmp_path / "nowhere_demo.hdf5",))
    with pytest.raises(FileNotFoundError, match="nowhere_demo"):
        load_episodes(run)
