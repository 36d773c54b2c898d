"""RLDS folders of OpenVLA's LIBERO data and of BridgeData V2, in our convention."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rfsq_jax.data.readers import jpeg
from rfsq_jax.data.readers.rlds import BRIDGE, LIBERO, read_frames, read_rlds
from tests.support.rlds_folders import (
    describe,
    encode_episode,
    encode_example,
    encode_picture,
    make_steps,
    write_folder,
    write_records,
)

FILE = "libero_spatial-train.tfrecord-00000-of-00001"


def write_one(folder, **changes):
    """A folder of one episode of six steps, changed."""
    write_folder(folder, lengths=(6,), num_shards=1)
    write_records(folder / FILE, [encode_episode(make_steps([0, 0], 6), "go", **changes)])
    return folder


def test_libero_comes_back_as_it_was_written(tmp_path):
    written = write_folder(tmp_path, num_shards=3)
    for images in (False, True):
        episodes = read_rlds(tmp_path, images=images)
        for episode, steps in zip(episodes, written, strict=True):
            np.testing.assert_array_equal(episode.actions, steps["action"])
            np.testing.assert_array_equal(episode.state, steps["state"])
            assert episode.instruction == steps["instruction"]
            assert (episode.images is not None) == images
            if episode.images is not None:
                np.testing.assert_array_equal(episode.images["agentview"], steps["image"])
                wrist = episode.images["robot0_eye_in_hand"]
                np.testing.assert_array_equal(wrist, steps["wrist_image"])
    assert episodes[2].source == "libero_spatial-train.tfrecord-00001-of-00003/0"


def test_some_frames_of_one_episode(tmp_path):
    written = write_folder(tmp_path, num_shards=1)
    got = read_frames(tmp_path / FILE, 3, np.array([1, 4, 8]))
    assert list(got) == ["agentview", "robot0_eye_in_hand"]
    np.testing.assert_array_equal(got["agentview"], written[3]["image"][[1, 4, 8]])


def test_jpeg_is_close_to_what_it_was_made_of(tmp_path):
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    picture = np.stack([np.tile(ramp, (32, 1)), np.tile(ramp[:, None], (1, 32))], axis=-1)
    picture = np.concatenate([picture, np.full((32, 32, 1), 90, np.uint8)], axis=-1)
    encoded = [encode_picture(picture, "JPEG")] * 6
    folder = write_one(tmp_path, **{"steps/observation/image": encoded})
    images = read_rlds(folder, images=True)[0].images
    assert images is not None
    assert np.abs(images["agentview"][0].astype(int) - picture).mean() < 4


def test_jpeg_as_tensorflow_decodes_it(tmp_path):
    pytest.importorskip("simplejpeg")
    y, x = np.mgrid[:32, :32]
    picture = np.stack([x * 8, y * 8, (x * y) % 256], axis=-1).astype(np.uint8)
    file = jpeg.encode(picture)
    write_one(tmp_path, **{"steps/observation/image": [file] * 6})
    frames = np.array([0, 5])
    # The wrist's are PNG, which a decoder of JPEG must refuse.
    with pytest.raises(ValueError, match="the image of step 0 cannot be decoded"):
        read_frames(tmp_path / FILE, 0, frames, decode=jpeg.decode)
    names = ("image", "wrist_image")
    write_one(tmp_path, **{f"steps/observation/{name}": [file] * 6 for name in names})
    got = read_frames(tmp_path / FILE, 0, frames, decode=jpeg.decode)["agentview"]
    np.testing.assert_array_equal(got, [jpeg.decode(file)] * 2)
    assert (got != read_frames(tmp_path / FILE, 0, frames)["agentview"]).any()


def test_bridge_is_turned_into_the_environments_units(tmp_path):
    rng = np.random.default_rng(0)
    action = np.concatenate([rng.normal(size=(5, 6)) * 0.02, rng.uniform(size=(5, 1))], axis=1)
    state = np.concatenate([rng.normal(size=(5, 6)), rng.uniform(size=(5, 1))], axis=1)
    record = encode_example(
        {
            "steps/action": action.astype(np.float32).ravel(),
            "steps/observation/state": state.astype(np.float32).ravel(),
            "steps/language_instruction": [b""] * 5,
            "steps/observation/image_0": [encode_picture(np.zeros((4, 4, 3), np.uint8))] * 5,
        }
    )
    describe(tmp_path, [1], state_dim=7)
    text = (tmp_path / "features.json").read_text()
    (tmp_path / "features.json").write_text(text.replace('"image"', '"image_0"', 1))
    write_records(tmp_path / "bridge-train.tfrecord-00000-of-00001", [record])
    (episode,) = read_rlds(tmp_path, fields=BRIDGE, images=True)
    # 0.05 m, 0.5 rad and a sign are the units of LIBERO's controller.
    np.testing.assert_allclose(episode.actions[:, :3] * 0.05, action[:, :3], rtol=1e-5)
    np.testing.assert_allclose(episode.actions[:, 6], 1 - 2 * action[:, 6], atol=1e-6)
    for stored, ours in ((action, episode.actions * 0.5), (state, episode.state)):
        for angles, vector in zip(stored[:, 3:6], ours[:, 3:6], strict=True):
            roll, pitch, yaw = (Rotation.from_rotvec(v) for v in np.diag(angles))
            expected = (yaw * pitch * roll).as_matrix()
            np.testing.assert_allclose(
                Rotation.from_rotvec(vector).as_matrix(), expected, atol=1e-5
            )
    np.testing.assert_allclose(episode.state[:, 6], state[:, 6], rtol=1e-6)
    np.testing.assert_allclose(episode.state[:, 7], -state[:, 6], rtol=1e-6)
    assert episode.instruction == ""


def test_a_gripper_of_another_convention_is_refused(tmp_path):
    action = make_steps([0, 0], 6)["action"]
    action[:, 6] = [1, 1, 0, 0, 1, 1]
    folder = write_one(tmp_path, **{"steps/action": action.ravel()})
    with pytest.raises(ValueError, match=r"00001/0: the gripper's .* -1 .* got 0.0 at step 2"):
        read_rlds(folder)
    opening = dataclasses.replace(LIBERO, gripper="opening")
    (episode,) = read_rlds(folder, fields=opening)
    assert episode.actions[:, 6].tolist() == [-1, -1, 1, 1, -1, -1]
    with pytest.raises(ValueError, match=r"gripper's .* 0 \(closed\) to 1 \(open\), got -1.0"):
        read_rlds(write_one(tmp_path), fields=opening)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps/action": [1.0] * 13}, "steps/action must hold N x 7 float32, got 13 values"),
        ({"steps/action": [1] * 42}, "steps/action must hold N x 7 float32, got 42 values"),
        ({"steps/observation/state": []}, "state must hold 6 x 8 float32, got 0 values"),
        ({"steps/observation/state": [0.5] * 40}, "state must hold 6 x 8 float32, got 40 values"),
        ({"steps/observation/state": [np.nan] * 48}, "state must be finite, got NaN or inf"),
        ({"steps/action": []}, "steps/action must hold N x 7 float32, got 0 values"),
        ({"steps/language_instruction": [b"\xff"] * 6}, r"instruction must be UTF-8, got b'\\xff'"),
        ({"steps/language_instruction": [b"go"] * 5}, "must hold 6 entries, one per step, got 5"),
        ({"steps/observation/image": [b"\x89PNG"] * 6}, "image of step 0 cannot be decoded"),
        ({"steps/observation/wrist_image": []}, "wrist_image must hold 6 entries, .* got 0"),
    ],
)
def test_a_damaged_record_is_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=f"tfrecord-00000-of-00001/0: .*{message}"):
        read_rlds(write_one(tmp_path, **changes), images=True)


def test_pictures_of_several_sizes_are_named(tmp_path):
    pictures = [encode_picture(np.zeros((size, 4, 3), np.uint8)) for size in (4, 4, 4, 4, 4, 5)]
    folder = write_one(tmp_path, **{"steps/observation/image": pictures})
    with pytest.raises(ValueError, match=r"/0: image must have images of one size, got"):
        read_rlds(folder, images=True)


@pytest.mark.parametrize(
    ("place", "frame", "message"),
    [(1, 0, "must have a record 1, got only 1"), (0, 6, "must have a step 6, got 6 steps")],
)
def test_places_and_steps_that_are_not_there_are_named(tmp_path, place, frame, message):
    write_one(tmp_path)
    with pytest.raises(ValueError, match=rf"00000-of-00001.* {message}"):
        read_frames(tmp_path / FILE, place, np.array([0, frame]))


def test_bytes_that_are_no_example_are_named(tmp_path):
    write_folder(tmp_path, lengths=(6,), num_shards=1)
    write_records(tmp_path / FILE, [b"\xff" * 30])
    with pytest.raises(ValueError, match=r"00001: record 0 cannot be read: expected a tf\.train"):
        read_rlds(tmp_path)


def test_a_folder_must_be_whole(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must hold features\.json"):
        read_rlds(tmp_path)
    write_folder(tmp_path, lengths=(6, 6, 6), num_shards=3)
    (tmp_path / "libero_spatial-train.tfrecord-00001-of-00003").unlink()
    with pytest.raises(FileNotFoundError, match=r"3 \.tfrecord files .* got 2; .* is number 1"):
        read_rlds(tmp_path)
    write_records(tmp_path / "libero_spatial-train.tfrecord-00001-of-00003", [])
    with pytest.raises(ValueError, match=r"00001-of-00003 must hold 1 episodes, got 0"):
        read_rlds(tmp_path)
    with pytest.raises(ValueError, match=r"split must be one that .* has \(train\), got 'test'"):
        read_rlds(tmp_path, split="test")


def test_another_layout_is_named(tmp_path):
    write_folder(tmp_path)
    with pytest.raises(ValueError, match=r"must have the field steps/observation/image_0, got"):
        read_rlds(tmp_path, fields=dataclasses.replace(BRIDGE, state_dim=8))
    with pytest.raises(ValueError, match=r"steps/observation/state must have shape \[7\]"):
        read_rlds(tmp_path, fields=BRIDGE)
    (tmp_path / "features.json").write_text(json.dumps({})[:1])
    with pytest.raises(ValueError, match=r"features\.json is not valid JSON"):
        read_rlds(tmp_path)
