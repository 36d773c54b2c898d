import numpy as np
import pytest

from rfsq_jax.libero.demonstrations.bundled import bundled_suites, load_bundled, load_demonstrations
from rfsq_jax.libero.demonstrations.recording import replay
from rfsq_jax.libero.lattice import to_counts
from rfsq_jax.libero.tasks import tasks

SUITES = ("libero_goal", "libero_object", "libero_spatial")


def test_three_suites_are_bundled():
    assert bundled_suites() == SUITES


@pytest.mark.parametrize("suite", SUITES)
def test_the_bundle_covers_its_suite(suite):
    demonstrations = load_demonstrations(suite)
    counts = np.bincount([each.task_index for each in demonstrations])
    assert counts.tolist() == [50] * 10
    words = {each.task_index: each.instruction for each in demonstrations}
    assert words == {task.index: task.instruction for task in tasks(suite)}
    assert len({each.start.seed for each in demonstrations}) == len(demonstrations)
    limit = tasks(suite)[0].step_limit
    for demonstration, episode in zip(demonstrations, load_bundled(suite), strict=True):
        assert 0 < len(episode) <= limit
        np.testing.assert_array_equal(episode.actions, demonstration.actions)
        to_counts(demonstration.executed)


@pytest.mark.parametrize(
    ("suite", "index"), [("libero_object", 0), ("libero_spatial", 4), ("libero_goal", 3)]
)
def test_bundled_demonstrations_replay_to_success(environment, suite, index):
    env = environment(suite, index)
    chosen = [each for each in load_demonstrations(suite) if each.task_index == index][:2]
    for demonstration in chosen:
        final = replay(env, demonstration)
        assert env.success()
        np.testing.assert_array_equal(replay(env, demonstration), final)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(10))
@pytest.mark.parametrize("suite", SUITES)
def test_every_bundled_demonstration_replays_to_success(environment, suite, index):
    env = environment(suite, index)
    failed = []
    for demonstration in load_demonstrations(suite):
        if demonstration.task_index == index:
            replay(env, demonstration)
            if not env.success():
                failed.append(demonstration.start.seed)
    assert failed == []
