"""Episodes in the true simulator."""

import json

import numpy as np
import pytest

from rfsq_jax.evaluation.play.libero_simulator import LiberoSimulator
from rfsq_jax.evaluation.play.rollout import film, play
from rfsq_jax.evaluation.protocol import EvaluationProtocol, Trial
from tests.support.commands import refusal

PROTOCOL = EvaluationProtocol(execute=8, settle_steps=2, step_limit=12, image_size=64)


@pytest.fixture(scope="module")
def simulator():
    with_cameras = LiberoSimulator("libero_object", 0, image_size=64)
    yield with_cameras
    with_cameras.close()


class Always:
    """Renders on every step, wanted or not."""

    def __init__(self, simulator):
        self.simulator, self.images = simulator, []

    def __getattr__(self, name):
        return getattr(self.simulator, name)

    def step(self, action):
        state = self.simulator.step(action)
        self.images.append(self.simulator.render())
        return state


def run(simulator, trial, protocol=PROTOCOL):
    """Plays seeded noise; returns how it went and what the policy was shown."""
    rng, seen = np.random.default_rng(3), []
    episode = play(simulator, trial, protocol)
    shown = next(episode)
    while True:
        seen.append(shown)
        try:
            shown = episode.send(rng.uniform(-1, 1, (8, 7)).astype(np.float32))
        except StopIteration as end:
            return end.value, seen


@pytest.mark.parametrize("starts", ["official", "random"])
def test_trajectories_are_those_of_rendering_every_step(simulator, starts):
    protocol = EvaluationProtocol(**{**PROTOCOL.__dict__, "starts": starts})
    trial = Trial("libero_object", 0, 1)
    seldom, seen = run(simulator, trial, protocol)
    always = Always(simulator)
    often, seen_often = run(always, trial, protocol)
    np.testing.assert_array_equal(seldom.final, often.final)
    np.testing.assert_array_equal(seldom.actions, often.actions)
    assert len(seen) == len(seen_often) == 2
    for one, other in zip(seen, seen_often, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.state, other.state)
    # What the policy is shown in the middle is what was rendered after the step before it.
    np.testing.assert_array_equal(seen[1].images[0], always.images[7])
    frames = film(simulator, trial, protocol, seldom, every=4)
    np.testing.assert_array_equal(frames[2], always.images[7])


def test_a_trial_does_not_depend_on_what_was_played_before(simulator):
    first, _ = run(simulator, Trial("libero_object", 0, 3))
    run(simulator, Trial("libero_object", 0, 2))
    again, _ = run(simulator, Trial("libero_object", 0, 3))
    np.testing.assert_array_equal(first.final, again.final)


@pytest.mark.slow
def test_the_command_resumes_and_does_not_depend_on_workers(tmp_path, capsys):
    from eval import libero

    common = ["--tasks", "0", "1", "--step-limit", "24", "--trials", "2", "--video", "all"]
    runs = {}
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        options = [*common, "--workers", str(workers), "--output", str(folder)]
        assert libero.main(options) == 0
        results = json.loads((folder / "results.json").read_text())["figures"]
        runs[workers] = [each["actions_sha256"] for each in results["episodes"]]
        assert len(set(runs[workers])) == 4
        assert all((folder / each["video"]).is_file() for each in results["episodes"])
        assert set(results["time"]["policy"]) == {
            "preprocess",
            "backbone",
            "heads",
            "decode",
            "act",
        }
        assert results["draft"]["questions"] >= 1
    assert runs[1] == runs[2]
    before = (folder / "episodes.jsonl").read_bytes()
    assert libero.main(options) == 0
    assert (folder / "episodes.jsonl").read_bytes() == before
    assert "0/4" in capsys.readouterr().out
    line = refusal(libero.main, [*options, "--mode", "speculative"], capsys)
    assert "mode: there greedy, here speculative" in line


@pytest.mark.slow
def test_a_libero_pro_suite_runs_by_name(tmp_path):
    from eval import libero

    options = ["--suite", "libero_spatial_swap", "--tasks", "0", "--trials", "1"]
    assert libero.main([*options, "--step-limit", "9", "--output", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())["figures"]
    assert results["suites"]["libero_spatial_swap"]["trials"] == 1
