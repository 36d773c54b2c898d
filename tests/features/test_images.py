"""Replayed images are those of an environment that renders every step."""

import dataclasses

import numpy as np
import pytest

from rfsq_jax.features.images import ReplayError, close_environment, replay_images
from rfsq_jax.libero.demonstrations.bundled import load_demonstrations
from rfsq_jax.libero.environment import POLICY_CAMERAS, Environment
from rfsq_jax.libero.tasks import get_task

SIZE = 64


@pytest.fixture(scope="module")
def demonstration():
    yield load_demonstrations("libero_object")[0]
    close_environment()


def test_rendering_some_steps_gives_what_rendering_all_gives(demonstration):
    frames = np.array([1, 6, 7, 20], np.int32)
    task = get_task(demonstration.suite, demonstration.task_index)
    with Environment(task, cameras=POLICY_CAMERAS, image_size=SIZE) as env:
        observation = env.reset(demonstration.start)
        rendered = []
        for step, action in enumerate(demonstration.executed[: frames[-1] + 1]):
            np.testing.assert_array_equal(observation.state, demonstration.state[step])
            images = env.render()
            rendered.append(np.stack([images[camera] for camera in POLICY_CAMERAS]))
            observation = env.step(action)
    got = replay_images(demonstration, frames, SIZE)
    np.testing.assert_array_equal(got, np.stack(rendered)[frames])
    assert got.std() > 10


def test_a_replay_that_goes_elsewhere_is_an_error(demonstration):
    executed = demonstration.executed.copy()
    executed[:10, 0] = 0.9
    moved = dataclasses.replace(demonstration, executed=executed)
    with pytest.raises(ReplayError, match="at step 20 the replayed state is"):
        replay_images(moved, np.array([20], np.int32), SIZE)


def test_one_rotation_has_several_axis_angles(demonstration):
    """The gripper points down: another processor's rounding may turn its axis round."""
    state = demonstration.state.copy()
    angle = np.linalg.norm(state[:, 3:6], axis=1, keepdims=True)
    state[:, 3:6] *= (angle - 2 * np.pi) / angle
    assert np.abs(state - demonstration.state).max() > 1
    frames = np.array([3], np.int32)
    other = dataclasses.replace(demonstration, state=state)
    same = [replay_images(each, frames, SIZE) for each in (demonstration, other)]
    np.testing.assert_array_equal(same[0], same[1])


@pytest.mark.parametrize("place", [0, 4, 6])
def test_a_recording_of_another_state_is_an_error(demonstration, place):
    """By 2 mm, 2 mrad or 2 mm of a finger."""
    state = demonstration.state.copy()
    state[3, place] += 2e-3
    with pytest.raises(ReplayError, match=r"at step 3 the replayed state is \d\.\de-03"):
        replay_images(
            dataclasses.replace(demonstration, state=state), np.array([3], np.int32), SIZE
        )
