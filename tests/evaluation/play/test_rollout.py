"""One episode, and its film."""

import dataclasses

import cv2
import numpy as np
import pytest
from PIL import Image

from rfsq_jax.evaluation.play.rollout import film
from rfsq_jax.evaluation.play.video import write_filmstrip, write_video
from tests.support.evaluation import PROTOCOL, play_through, trials_of


def test_an_episode_asks_only_when_its_chunk_is_played():
    simulator, played = play_through(trials_of(1, 4)[3])
    assert played.chunks == simulator.rendered == -(-len(played.actions) // PROTOCOL.execute)
    assert len(played.actions) == PROTOCOL.step_limit or played.success
    assert played.seconds.keys() == {"reset", "render", "physics"}


def test_a_film_shows_what_was_played():
    trial = trials_of(1, 1)[0]
    simulator, played = play_through(trial)
    frames = film(simulator, trial, PROTOCOL, played, every=2)
    assert len(frames) == 1 + -(-len(played.actions) // 2)
    np.testing.assert_array_equal(frames[-1], simulator.render())
    other = dataclasses.replace(played, actions=played.actions * 1.5)
    with pytest.raises(RuntimeError, match="lead elsewhere"):
        film(simulator, trial, PROTOCOL, other, every=2)


def test_videos_and_filmstrips_can_be_read(tmp_path):
    frames = [np.full((2, 64, 64, 3), 12 * index, np.uint8) for index in range(20)]
    frames = [np.concatenate([frame[:1], 255 - frame[:1]]) for frame in frames]
    write_video(tmp_path / "v.mp4", frames)
    write_filmstrip(tmp_path / "v.jpg", frames)
    video = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    read = [video.read()[1] for _ in frames]
    assert video.get(cv2.CAP_PROP_FPS) == 10
    assert read[0].shape == (64, 128, 3)
    for frame, got in zip(frames, read, strict=True):
        shown = np.concatenate(list(frame), axis=1)
        assert np.abs(got[8:-8, 8:56].astype(int) - shown[8:-8, 8:56]).mean() < 6
    assert not video.read()[0]
    with Image.open(tmp_path / "v.jpg") as strip:
        assert strip.size == (8 * 128, 128)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.jpg", "v.mp4"]
