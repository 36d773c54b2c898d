import numpy as np

from rfsq_jax.data.statistics import action_statistics, published_statistics


def test_statistics_use_the_published_gripper():
    actions = np.array([[0.5, 0, 0, 0, 0, 0, -1], [-0.5, 0, 0, 0, 0, 0, 1]], np.float32)
    statistics = action_statistics(actions)
    assert statistics["mean"][6] == 0.5
    assert statistics["std"][0] == 0.5
    # Open is 1.
    opened = action_statistics(actions[:1])
    assert opened["mean"][6] == 1
    assert actions[0, 6] == -1


def test_published_statistics_are_those_of_the_lattice():
    spatial = published_statistics("libero_spatial")
    assert spatial is not None
    assert spatial["max"][:3] == [0.9375] * 3
    assert (spatial["num_episodes"], spatial["num_steps"]) == (432, 52970)
    assert published_statistics("libero_90") is None
