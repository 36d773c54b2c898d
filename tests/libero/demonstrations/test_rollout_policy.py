"""A policy acts first, then the expert takes over."""

import numpy as np
import pytest

from rfsq_jax.libero.demonstrations.demonstration import Demonstration
from rfsq_jax.libero.demonstrations.generation import Recipe, generate
from rfsq_jax.libero.demonstrations.hdf5 import read_demonstrations, write_hdf5
from rfsq_jax.libero.demonstrations.recording import HOLD_STEPS, record, replay
from rfsq_jax.libero.environment import POLICY_CAMERAS, Environment
from rfsq_jax.libero.experts import make_expert
from rfsq_jax.libero.placements import random_start
from rfsq_jax.libero.tasks import get_task
from tests.support.demonstrations import assert_same

SUITE, INDEX = "libero_object", 1
ASIDE = np.tile(np.array([0.4, 0.3, -0.2, 0, 0, 0.1, -1.0], np.float32), (8, 1))


def steady(env):
    return make_expert(env, np.random.default_rng(0), "steady")


def aside(env):
    return ASIDE


def recorded(env, start, policy=None, steps=0) -> Demonstration:
    demonstration = record(env, start, steady, rollout_policy=policy, rollout_steps=steps)
    assert demonstration is not None
    return demonstration


@pytest.fixture(scope="module")
def rolled_out(environment):
    env = environment(SUITE, INDEX)
    return recorded(env, random_start(env, 3), aside, 20)


def test_the_policy_goes_first_and_its_actions_are_kept(rolled_out):
    assert rolled_out.handover == 20
    np.testing.assert_array_equal(rolled_out.actions[:20], np.tile(ASIDE, (3, 1))[:20])
    np.testing.assert_array_equal(rolled_out.executed[:20], rolled_out.actions[:20])


def test_the_expert_acts_on_what_the_policy_left(environment, rolled_out):
    env = environment(SUITE, INDEX)
    observation = env.reset(rolled_out.start)
    for action in rolled_out.executed[: rolled_out.handover]:
        observation = env.step(action)
    np.testing.assert_array_equal(observation.state, rolled_out.state[rolled_out.handover])
    np.testing.assert_allclose(steady(env).act(observation), rolled_out.actions[20], atol=0.01)


def test_it_replays_to_the_bit_from_its_file(environment, rolled_out, tmp_path):
    write_hdf5(tmp_path / "rollout_demo.hdf5", [rolled_out])
    (read,) = read_demonstrations(tmp_path / "rollout_demo.hdf5")
    assert_same(read, rolled_out)
    np.testing.assert_array_equal(replay(environment(SUITE, INDEX), read), rolled_out.final_state)


def test_no_policy_is_one_of_no_steps(environment):
    env = environment(SUITE, INDEX)
    start = random_start(env, 3)
    alone = recorded(env, start)
    assert_same(recorded(env, start, aside, 0), alone)
    assert alone.handover == 0


def test_a_policy_that_holds_the_thing_does_not_hand_over(environment):
    env = environment(SUITE, INDEX)
    start = random_start(env, 3)
    env.reset(start)
    expert = steady(env)
    held = []

    def one_by_one(env):
        held.append(env.holds_something())
        return expert.act(env.observe())[None].astype(np.float32)

    closing = recorded(env, start)
    grasped = np.flatnonzero(closing.actions[:, 6] > 0)[0] + 12
    demonstration = record(
        env, start, steady, rollout_policy=one_by_one, rollout_steps=int(grasped)
    )
    # Success may come before the hand lets go; then nobody takes over.
    assert demonstration is None or demonstration.handover > grasped + 20
    assert any(held[grasped:])
    assert not held[0]


def test_a_policy_that_solves_the_task_leaves_nothing_to_show(environment):
    env = environment(SUITE, INDEX)
    start = random_start(env, 3)
    solution = iter(recorded(env, start).executed[: 1 - HOLD_STEPS])

    def played(env):
        return next(solution)[None]

    assert record(env, start, steady, rollout_policy=played, rollout_steps=200) is None


class Aside:
    """Looks, and moves aside."""

    image_size = 64

    def __init__(self):
        self.seen = []

    def __call__(self, env):
        self.seen.append({name: image.shape for name, image in env.render().items()})
        return ASIDE


def test_attempts_with_a_policy_hand_over_at_random(tmp_path):
    recipe = Recipe(
        seed=0,
        style="human",
        placement_margin=0.05,
        image_size=None,
        rollout_policy="some",
        rollout_steps=30,
    )
    policy = Aside()
    path = generate(get_task(SUITE, INDEX), 3, recipe, tmp_path, rollout_policy=policy)
    demonstrations = read_demonstrations(path)
    handovers = [each.handover for each in demonstrations]
    assert len(set(handovers)) > 1
    assert all(0 <= handover <= 30 for handover in handovers)
    assert policy.seen
    assert all(seen == dict.fromkeys(POLICY_CAMERAS, (64, 64, 3)) for seen in policy.seen)
    with Environment(get_task(SUITE, INDEX)) as env:
        np.testing.assert_array_equal(replay(env, demonstrations[0]), demonstrations[0].final_state)
