import dataclasses

import numpy as np
import pytest

from rfsq_jax.libero.demonstrations.hdf5 import read_demonstrations, write_hdf5
from rfsq_jax.libero.demonstrations.recording import HOLD_STEPS, record, replay
from rfsq_jax.libero.experts import make_expert
from rfsq_jax.libero.lattice import snap
from rfsq_jax.libero.placements import random_start

SUITE, INDEX = "libero_object", 0


class Idle:
    """Never reaches a goal."""

    def act(self, robot):
        return np.array([0.1, 0, 0, 0, 0, 0, -1.0])

    def disturbance(self, step):
        return np.zeros(7)


class Pushed:
    """The scripted expert, pushed aside for a few steps at the beginning."""

    def __init__(self, env):
        self._expert = make_expert(env, np.random.default_rng(0), "steady")
        self.act = self._expert.act

    def disturbance(self, step):
        return np.array([0.3, 0, 0, 0, 0, 0.05, 0]) if 4 <= step < 8 else np.zeros(7)


@pytest.fixture(scope="module")
def demonstration(environment):
    env = environment(SUITE, INDEX)
    return record(env, random_start(env, 1), Pushed)


def test_a_recording_ends_when_success_has_lasted(environment, demonstration):
    env = environment(SUITE, INDEX)
    env.reset(demonstration.start)
    successes = []
    for action in demonstration.executed:
        env.step(action)
        successes.append(env.success())
    assert successes[-HOLD_STEPS:] == [True] * HOLD_STEPS
    assert not successes[-HOLD_STEPS - 1]


def test_labels_are_the_experts_and_executed_is_what_was_played(demonstration):
    difference = demonstration.executed - demonstration.actions
    disturbed = np.flatnonzero(difference.any(axis=1))
    assert disturbed.tolist() == [4, 5, 6, 7]
    for values in (demonstration.actions, demonstration.executed):
        np.testing.assert_array_equal(snap(values), values)


def test_rows_are_from_before_their_action(environment, demonstration):
    env = environment(SUITE, INDEX)
    observation = env.reset(demonstration.start)
    np.testing.assert_array_equal(demonstration.state[0], observation.state)
    np.testing.assert_array_equal(demonstration.trace.simulator_states[0], env.simulator_state)
    observation = env.step(demonstration.executed[0])
    np.testing.assert_array_equal(demonstration.state[1], observation.state)
    np.testing.assert_array_equal(demonstration.trace.joint_states[1], observation.joint_pos)


def test_a_demonstration_replays_to_the_bit_from_its_file(environment, demonstration, tmp_path):
    env = environment(SUITE, INDEX)
    write_hdf5(tmp_path / "task_demo.hdf5", [demonstration])
    (read,) = read_demonstrations(tmp_path / "task_demo.hdf5")
    env.step(demonstration.executed[5])
    np.testing.assert_array_equal(replay(env, read), demonstration.final_state)


def test_an_expert_that_does_not_finish_gives_nothing(environment):
    env = environment(SUITE, INDEX)
    assert record(env, random_start(env, 2), lambda env: Idle()) is None


def test_a_demonstration_of_another_task_is_refused(environment, demonstration):
    with pytest.raises(ValueError, match="must be of libero_object task 0"):
        replay(environment(SUITE, INDEX), dataclasses.replace(demonstration, task_index=5))
