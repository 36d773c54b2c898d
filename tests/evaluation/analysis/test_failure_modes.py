"""What is said of an episode, against episodes that were made to end so."""

import dataclasses

import numpy as np
import pytest

from rfsq_jax.evaluation.analysis.failure_modes import FailureMode, count_modes, diagnose, goal_of
from rfsq_jax.evaluation.log import actions_file, digest, read_actions, write_actions
from rfsq_jax.evaluation.play.libero_simulator import start_of
from rfsq_jax.evaluation.protocol import EvaluationProtocol, Trial
from rfsq_jax.libero.demonstrations.recording import record
from rfsq_jax.libero.environment import Environment
from rfsq_jax.libero.experts import make_expert
from rfsq_jax.libero.tasks import get_task
from tests.support.evaluation import record_of

SUITE, TASK = "libero_object", 1
PROTOCOL = EvaluationProtocol(execute=8, starts="random", image_size=64)
TRIAL = Trial(SUITE, TASK, 0)


@pytest.fixture(scope="module")
def env():
    with Environment(get_task(SUITE, TASK)) as made:
        yield made


@pytest.fixture(scope="module")
def solution(env):
    start = start_of(env, TRIAL, PROTOCOL)
    steady = record(env, start, lambda e: make_expert(e, np.random.default_rng(0), "steady"))
    assert steady is not None
    return steady.executed


def diagnosis(env, actions):
    env.reset(start_of(env, TRIAL, PROTOCOL))
    return diagnose(env, actions)


def first_closed(actions):
    return int(np.flatnonzero(actions[:, 6] > 0)[0])


def test_the_expert_solves(env, solution):
    found = diagnosis(env, solution)
    assert found.mode is FailureMode.SOLVED
    assert found.closings == 1
    assert found.displaced == 0
    assert found.miss is not None
    assert found.miss < 0.03


def test_an_open_hand_never_closed(env, solution):
    found = diagnosis(env, np.concatenate([solution[:, :6], -np.ones((len(solution), 1))], 1))
    assert found.mode is FailureMode.NEVER_CLOSED
    assert found.miss is None
    assert found.displaced > 0.05


def test_closing_in_the_air_misses_by_as_much(env, solution):
    closing = np.tile(np.array([0, 0, 0, 0, 0, 0, 1], np.float32), (10, 1))
    found = diagnosis(env, closing)
    assert found.mode is FailureMode.MISSED
    assert found.miss is not None
    assert found.miss > 0.05


def test_stopping_with_the_thing_in_the_hand(env, solution):
    first, opening = first_closed(solution), int(np.flatnonzero(solution[:, 6] > 0)[-1])
    assert diagnosis(env, solution[: opening - 5]).mode is FailureMode.HELD
    assert diagnosis(env, solution[: first + 6]).mode is FailureMode.NOT_LIFTED


def test_letting_go_on_the_way(env, solution):
    middle = (first_closed(solution) + int(np.flatnonzero(solution[:, 6] > 0)[-1])) // 2
    release = np.tile(np.array([0, 0, 0, 0, 0, 0, -1], np.float32), (15, 1))
    found = diagnosis(env, np.concatenate([solution[:middle], release]))
    assert found.mode is FailureMode.DROPPED
    assert found.displaced > 0.05


def test_goals_of_other_kinds_are_refused():
    with (
        Environment(get_task("libero_goal", 0)) as env,
        pytest.raises(ValueError, match="must be one thing on or in another, got open"),
    ):
        goal_of(env)


def test_shares_count_every_diagnosis(env, solution):
    found = diagnosis(env, solution)
    other = dataclasses.replace(found, mode=FailureMode.MISSED)
    assert count_modes([found, other, other]) == {"closed beside the thing": 2, "solved": 1}


def test_kept_actions_are_those_of_the_log(tmp_path):
    actions = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    logged = record_of(TRIAL, actions_sha256=digest(actions))
    with pytest.raises(FileNotFoundError, match="expected the actions of"):
        read_actions(tmp_path, logged)
    write_actions(tmp_path, TRIAL, actions)
    np.testing.assert_array_equal(read_actions(tmp_path, logged), actions)
    write_actions(tmp_path, TRIAL, actions + 1)
    with pytest.raises(ValueError, match="must hold the actions that were logged"):
        read_actions(tmp_path, logged)
    assert [path.name for path in (tmp_path / "actions").iterdir()] == [
        actions_file(tmp_path, TRIAL).name
    ]
