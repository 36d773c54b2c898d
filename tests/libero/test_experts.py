"""The scripted experts on real tasks: they reach their goals as a demonstrator would."""

import numpy as np
import pytest

from rfsq_jax.libero.experts import Style, make_expert
from rfsq_jax.libero.rollout import record
from rfsq_jax.libero.starts import random_start

SUITES = ("libero_spatial", "libero_object")
CAPS = np.array([0.9375] * 3 + [0.375] * 3 + [1.0])


def play(env, seed, style):
    """Records one episode; None if the step limit came first."""
    rng = np.random.default_rng([seed, env.task.index])
    return record(env, random_start(env, seed), lambda env: make_expert(env, rng, style))


def solved(env, seed, style):
    """Records one episode that must succeed."""
    demonstration = play(env, seed, style)
    assert demonstration is not None, f"seed {seed} of {env.task.name} was not solved"
    return demonstration


@pytest.mark.parametrize(("suite", "index"), [("libero_spatial", 0), ("libero_object", 2)])
def test_the_expert_solves_a_fresh_placement(environment, suite, index):
    demonstration = solved(environment(suite, index), 1000, "human")
    assert (np.abs(demonstration.actions) <= CAPS + 1e-6).all()
    assert set(np.unique(demonstration.actions[:, 6])) == {-1.0, 1.0}


def test_the_same_seed_gives_the_same_actions(environment):
    env = environment("libero_object", 2)
    first, again = solved(env, 3, "human"), solved(env, 3, "human")
    np.testing.assert_array_equal(first.actions, again.actions)


def test_a_missed_grasp_is_made_good(environment):
    env = environment("libero_object", 2)
    observation = env.reset(random_start(env, 5))
    expert = make_expert(env, np.random.default_rng(0), Style(miss=(0.0, 0.0, 0.035)))
    for _ in range(env.task.step_limit):
        observation = env.step(expert.act(observation))
        if env.success():
            break
    assert env.success()
    assert expert.skill.attempts >= 1


def test_a_steady_expert_is_never_disturbed(environment):
    demonstration = solved(environment("libero_spatial", 0), 4, "steady")
    np.testing.assert_array_equal(demonstration.actions, demonstration.executed)


def test_a_goal_without_a_skill_is_refused(environment):
    env = environment("libero_goal", 0)
    assert any(goal[0] == "open" for goal in env.goals)
    with pytest.raises(ValueError, match="goal must be on or in"):
        make_expert(env, np.random.default_rng(0))


@pytest.mark.slow
@pytest.mark.parametrize("style", ["steady", "human"])
@pytest.mark.parametrize("suite", SUITES)
def test_95_of_100_random_placements_succeed(environment, suite, style):
    solved = [
        play(environment(suite, index), seed, style) is not None
        for index in range(10)
        for seed in range(10)
    ]
    assert sum(solved) >= 95
