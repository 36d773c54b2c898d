import contextlib
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from rfsq_jax.libero.environment import NO_OP, POLICY_CAMERAS, Environment, seeded_numpy
from rfsq_jax.libero.placements import random_start
from rfsq_jax.libero.sensors import axis_angle_from_quaternion
from rfsq_jax.libero.stock import ControlEnv
from rfsq_jax.libero.tasks import Start, get_task
from tests.support.memory import give_back

# Objects, fixtures and a drawer in one scene.
SUITE, INDEX = "libero_spatial", 4


def wild_actions(num_steps: int, seed: int = 0) -> np.ndarray:
    """Actions that sweep the table, knock things over and work the gripper."""
    rng = np.random.default_rng(seed)
    actions = np.clip(np.cumsum(rng.uniform(-0.4, 0.4, (num_steps, 7)), axis=0), -0.9, 0.9)
    actions[:, 2] -= 0.3
    actions[:, 3:6] *= 0.3
    # Steps without rotation keep the controller's old goal.
    actions[5:10, 3:6] = 0
    actions[:, 6] = np.sign(actions[:, 6])
    return actions


def play(env: Environment, start: Start, actions: np.ndarray) -> str:
    """Returns a digest of every state and observation of an episode."""
    digest = hashlib.sha256()
    env.reset(start)
    for action in actions:
        observation = env.step(action)
        digest.update(env.simulator_state.tobytes())
        digest.update(observation.state.tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def stock_simulator(cameras: bool):
    task = get_task(SUITE, INDEX)
    with seeded_numpy(0):
        stock = ControlEnv(
            bddl_file_name=str(task.bddl_file),
            use_camera_obs=cameras,
            has_offscreen_renderer=cameras,
            camera_heights=64,
            camera_widths=64,
        )
        stock.reset()
    give_back()
    try:
        yield stock
    finally:
        stock.close()
        give_back()


def start_stock(stock, start: Start) -> None:
    """What `Environment.reset` does, by the stock environment's means."""
    bodies = [stock.sim.model.body_name2id(each.root_body) for each in stock.env.fixtures]
    stock.sim.model.body_pos[bodies] = start.fixtures[:, :3]
    stock.sim.model.body_quat[bodies] = start.fixtures[:, 3:]
    # The solver's first guess comes from the placement before, which the protocol throws away.
    stock.sim.data._data.qacc_warmstart[:] = 0
    stock.set_init_state(start.state)


def stock_policy_state(observation) -> np.ndarray:
    rotation = axis_angle_from_quaternion(observation["robot0_eef_quat"])
    parts = [observation["robot0_eef_pos"], rotation, observation["robot0_gripper_qpos"]]
    return np.concatenate(parts).astype(np.float32)


def test_every_bit_is_the_stock_simulators(environment):
    env = environment(SUITE, INDEX)
    start = random_start(env, 1)
    env.reset(start, settle_steps=0)
    with stock_simulator(cameras=False) as stock:
        start_stock(stock, start)
        for action in [*[NO_OP] * 10, *wild_actions(120)]:
            shown = env.step(action).state
            observation, _, done, _ = stock.step(action)
            np.testing.assert_array_equal(env.simulator_state, stock.get_sim_state())
            np.testing.assert_array_equal(shown, stock_policy_state(observation))
            assert env.success() == done


def test_pictures_are_the_stock_simulators_rotated():
    with Environment(get_task(SUITE, INDEX), cameras=POLICY_CAMERAS, image_size=64) as env:
        start = random_start(env, 2)
        env.reset(start, settle_steps=0)
        for action in wild_actions(4):
            env.step(action)
        images = env.render()
    # One after the other: with its cameras each takes a gigabyte.
    give_back()
    with stock_simulator(cameras=True) as stock:
        start_stock(stock, start)
        for action in wild_actions(4):
            stock.step(action)
        observation = stock.env._get_observations()
    assert set(images) == set(POLICY_CAMERAS)
    for name, picture in images.items():
        assert picture.std() > 10
        np.testing.assert_array_equal(picture, observation[f"{name}_image"][::-1, ::-1])


def test_an_episode_depends_on_nothing_before_it(environment):
    env = environment(SUITE, INDEX)
    start, actions = random_start(env, 3), wild_actions(30, seed=1)
    first = play(env, start, actions)
    play(env, random_start(env, 4), wild_actions(40, seed=2))
    env.step(wild_actions(1)[0])
    assert play(env, start, actions) == first


def test_an_episode_is_the_same_in_a_fresh_process(environment):
    env = environment(SUITE, INDEX)
    here = play(env, random_start(env, 5), wild_actions(15))
    program = (
        "from tests.libero.test_environment import *\n"
        "env = Environment(get_task(SUITE, INDEX))\n"
        "print(play(env, random_start(env, 5), wild_actions(15)))\n"
    )
    there = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == here


def test_goals_and_observation(environment):
    env = environment(SUITE, INDEX)
    assert env.goals == (("on", "akita_black_bowl_1", "plate_1"),)
    observation = env.reset(random_start(env, 6))
    assert not env.success()
    np.testing.assert_allclose(observation.state[:3], observation.eef_pos, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(observation.eef_quat), 1, atol=1e-9)
    assert observation.joint_pos.shape == (7,)


@pytest.mark.usefixtures("unchecked_types")
def test_bad_input_is_refused_at_the_border(environment):
    env = environment(SUITE, INDEX)
    with pytest.raises(ValueError, match=r"action must have shape \(7,\), got \(6,\)"):
        env.step(np.zeros(6))
    with pytest.raises(ValueError, match="action must be finite"):
        env.step(np.full(7, np.nan))
    with pytest.raises(ValueError, match=r"start.state must have shape \(92,\)"):
        env.reset(Start(np.zeros(3), env.fixtures, 0))
    with pytest.raises(RuntimeError, match="no cameras"):
        env.render()
    with pytest.raises(ValueError, match="agentview"):
        Environment(get_task(SUITE, INDEX), cameras=("moon",))


@pytest.mark.slow
def test_stepping_is_less_work_than_in_the_stock_simulator(environment):
    env = environment(SUITE, INDEX)
    actions = wild_actions(150)
    # Calls of functions, in Python and in C, which are as many on a slow or busy machine.
    calls: dict[str, int] = {"ours": 0, "stock": 0}
    with stock_simulator(cameras=False) as stock:
        start = random_start(env, 7)
        env.reset(start)
        start_stock(stock, start)
        for name, step in (("ours", env.step), ("stock", stock.step)):

            def count(frame, event, arg, name=name):
                calls[name] += event in ("call", "c_call")

            sys.setprofile(count)
            for action in actions:
                step(action)
            sys.setprofile(None)
    assert calls["ours"] < 0.8 * calls["stock"]
