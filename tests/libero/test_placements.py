import numpy as np
import pytest

from rfsq_jax.libero.environment import NO_OP, seeded_numpy
from rfsq_jax.libero.placements import official_start, random_start
from rfsq_jax.libero.stock import ControlEnv
from rfsq_jax.libero.tasks import official_init_states

# The bowl stands on a fixture and the drawer is opened at random: the hardest scene to reset.
SUITE, INDEX = "libero_spatial", 4


def object_positions(env, start):
    env.reset(start, settle_steps=0)
    names = [each.root_body for each in env.domain.objects]
    return np.array([env.data.body(name).xpos[:2] for name in names])


def test_a_start_depends_on_its_seed_alone(environment):
    env = environment(SUITE, INDEX)
    first = random_start(env, 11)
    env.reset(random_start(env, 12))
    env.step(NO_OP)
    np.random.random()  # noqa: NPY002
    again = random_start(env, 11)
    np.testing.assert_array_equal(first.state, again.state)
    np.testing.assert_array_equal(first.fixtures, again.fixtures)
    assert (random_start(env, 12).state != first.state).any()


def test_drawing_a_start_leaves_numpys_generator_alone(environment):
    with seeded_numpy(5):
        expected = np.random.random()  # noqa: NPY002
    with seeded_numpy(5):
        random_start(environment(SUITE, INDEX), 1)
        assert np.random.random() == expected  # noqa: NPY002


def test_official_starts_have_the_fixtures_of_the_protocol(environment):
    env = environment(SUITE, INDEX)
    with seeded_numpy(9):
        stock = ControlEnv(
            bddl_file_name=str(env.task.bddl_file),
            use_camera_obs=False,
            has_offscreen_renderer=False,
        )
        stock.seed(0)
        for index in range(2):
            stock.reset()
            bodies = [stock.sim.model.body_name2id(each.root_body) for each in stock.env.fixtures]
            positions = stock.sim.model.body_pos[bodies].copy()
            drawn = np.random.get_state()  # noqa: NPY002
            start = official_start(env, index)
            np.random.set_state(drawn)  # noqa: NPY002
            np.testing.assert_array_equal(start.fixtures[:, :3], positions)
            np.testing.assert_array_equal(start.state, official_init_states(env.task)[index])
    stock.close()


def test_wider_regions_spread_the_objects(environment):
    env = environment("libero_object", 0)
    spread = {
        margin: np.std(
            [
                object_positions(env, random_start(env, seed, placement_margin=margin))
                for seed in range(8)
            ],
            axis=0,
        ).mean()
        for margin in (0.0, 0.05)
    }
    assert spread[0.05] > spread[0.0] + 0.01
    # Widening is forgotten afterwards.
    np.testing.assert_array_equal(
        random_start(env, 3).state, random_start(env, 3, placement_margin=0.0).state
    )


def test_bad_options_are_refused(environment):
    env = environment(SUITE, INDEX)
    with pytest.raises(ValueError, match="placement_margin must be at least 0"):
        random_start(env, 0, placement_margin=-0.1)
    with pytest.raises(ValueError, match=r"0\.\.49, got 50"):
        official_start(env, 50)
