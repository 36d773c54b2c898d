"""A policy acts first, then the expert takes over."""

import numpy as np
import pytest

from rfsq_jax.libero.demonstrations.demonstration import Demonstration
from rfsq_jax.libero.demonstrations.generation import Recipe, generate
from rfsq_jax.libero.demonstrations.hdf5 import read_demonstrations, write_hdf5
from rfsq_jax.libero.demonstrations.recording import HOLD_STEPS, Lead, record, replay
from rfsq_jax.libero.environment import POLICY_CAMERAS, Environment
from rfsq_jax.libero.experts import make_expert
from rfsq_jax.libero.placements import random_start
from rfsq_jax.libero.tasks import get_task
from tests.support.demonstrations import assert_same

SUITE, INDEX = "libero_object", 1
ASIDE = np.tile(np.array([0.4, 0.3, -0.2, 0, 0, 0.1, -1.0], np.float32), (8, 1))


def steady(env):
    return make_expert(env, np.random.default_rng(0), "steady")


def aside(observation, draw):
    return ASIDE


def recorded(env, start, lead=None) -> Demonstration:
    demonstration = record(env, start, steady, lead=lead)
    assert demonstration is not None
    return demonstration


@pytest.fixture(scope="module")
def led(environment):
    env = environment(SUITE, INDEX)
    return recorded(env, random_start(env, 3), Lead(aside, 20))


def test_the_lead_goes_first_and_its_actions_are_kept(led):
    assert led.handover == 20
    np.testing.assert_array_equal(led.actions[:20], np.tile(ASIDE, (3, 1))[:20])
    np.testing.assert_array_equal(led.executed[:20], led.actions[:20])


def test_the_expert_acts_on_what_the_lead_left(environment, led):
    env = environment(SUITE, INDEX)
    observation = env.reset(led.start)
    for action in led.executed[: led.handover]:
        observation = env.step(action)
    np.testing.assert_array_equal(observation.state, led.state[led.handover])
    np.testing.assert_allclose(steady(env).act(observation), led.actions[20], atol=0.01)


def test_it_replays_to_the_bit_from_its_file(environment, led, tmp_path):
    write_hdf5(tmp_path / "led_demo.hdf5", [led])
    (read,) = read_demonstrations(tmp_path / "led_demo.hdf5")
    assert_same(read, led)
    np.testing.assert_array_equal(replay(environment(SUITE, INDEX), read), led.final_state)


def test_no_lead_is_a_lead_of_no_steps(environment):
    env = environment(SUITE, INDEX)
    start = random_start(env, 3)
    alone = recorded(env, start)
    assert_same(recorded(env, start, Lead(aside, 0)), alone)
    assert alone.handover == 0


def test_a_lead_that_holds_the_thing_does_not_hand_over(environment):
    env = environment(SUITE, INDEX)
    start = random_start(env, 3)
    env.reset(start)
    expert = steady(env)
    held = []

    def one_by_one(observation, draw):
        held.append(env.holds_something())
        return expert.act(observation)[None].astype(np.float32)

    closing = recorded(env, start)
    grasped = np.flatnonzero(closing.actions[:, 6] > 0)[0] + 12
    demonstration = record(env, start, steady, lead=Lead(one_by_one, int(grasped)))
    # Success may come before the hand lets go; then nobody takes over.
    assert demonstration is None or demonstration.handover > grasped + 20
    assert any(held[grasped:])
    assert not held[0]


def test_a_lead_that_solves_the_task_leaves_nothing_to_show(environment):
    env = environment(SUITE, INDEX)
    start = random_start(env, 3)
    solution = iter(recorded(env, start).executed[: 1 - HOLD_STEPS])

    def played(observation, draw):
        return next(solution)[None]

    assert record(env, start, steady, lead=Lead(played, 200)) is None


class Pilot:
    """Looks, and moves aside."""

    image_size = 64

    def __init__(self):
        self.seen = []

    def chunk(self, observation, draw):
        self.seen.append({name: image.shape for name, image in draw().items()})
        return ASIDE


def test_attempts_with_a_pilot_hand_over_at_random(tmp_path):
    recipe = Recipe(seed=0, style="human", widen=0.05, image_size=None, lead="some", lead_steps=30)
    pilot = Pilot()
    path = generate(get_task(SUITE, INDEX), 3, recipe, tmp_path, pilot=pilot)
    demonstrations = read_demonstrations(path)
    handovers = [each.handover for each in demonstrations]
    assert len(set(handovers)) > 1
    assert all(0 <= handover <= 30 for handover in handovers)
    assert pilot.seen
    assert all(seen == dict.fromkeys(POLICY_CAMERAS, (64, 64, 3)) for seen in pilot.seen)
    with Environment(get_task(SUITE, INDEX)) as env:
        np.testing.assert_array_equal(replay(env, demonstrations[0]), demonstrations[0].final_state)
