"""Replayed pictures are those of an environment that draws every step."""

import dataclasses

import numpy as np
import pytest

from rfsq_jax.data.bundled import load_demonstrations
from rfsq_jax.features.pictures import ReplayError, replay_pictures
from rfsq_jax.libero.environment import POLICY_CAMERAS, Environment
from rfsq_jax.libero.tasks import get_task

SIZE = 64


@pytest.fixture(scope="module")
def demonstration():
    return load_demonstrations("libero_object")[0]


def test_drawing_some_steps_gives_what_drawing_all_gives(demonstration):
    frames = np.array([1, 6, 7, 20], np.int32)
    task = get_task(demonstration.suite, demonstration.task_index)
    with Environment(task, cameras=POLICY_CAMERAS, image_size=SIZE) as env:
        env.reset(demonstration.start)
        drawn = []
        for action in demonstration.executed[: frames[-1] + 1]:
            pictures = env.render()
            drawn.append(np.stack([pictures[camera] for camera in POLICY_CAMERAS]))
            env.step(action)
    got = replay_pictures(demonstration, frames, SIZE)
    np.testing.assert_array_equal(got, np.stack(drawn)[frames])
    assert got.std() > 10


def test_a_replay_that_goes_elsewhere_is_an_error(demonstration):
    executed = demonstration.executed.copy()
    executed[:10, 0] = 0.9
    moved = dataclasses.replace(demonstration, executed=executed)
    with pytest.raises(ReplayError, match="at step 20 the replayed state is"):
        replay_pictures(moved, np.array([20], np.int32), SIZE)
