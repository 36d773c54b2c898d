import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rfsq_jax.data.readers.libero_hdf5 import read_hdf5
from rfsq_jax.libero.demonstrations.bundled import read_bundle
from rfsq_jax.libero.demonstrations.generation import (
    Recipe,
    attempt_seeds,
    attempts_folder,
    generate,
)
from rfsq_jax.libero.demonstrations.hdf5 import read_demonstrations
from rfsq_jax.libero.demonstrations.summary import describe
from rfsq_jax.libero.environment import POLICY_CAMERAS, Environment
from rfsq_jax.libero.tasks import get_task
from rfsq_jax.runs.json_files import read_json
from tests.support.demonstrations import assert_same
from tests.support.processes import is_running, kill_when, wait_until
from train.demos import DemosConfig, claim, episode_shares, main

ROOT = Path(__file__).parents[2]
TASK = get_task("libero_object", 1)
RECIPE = Recipe(seed=0, style="human", placement_margin=0.0, image_size=None)


class StoppedError(Exception):
    pass


def stop(succeeded: bool) -> None:
    raise StoppedError


def test_a_stopped_task_goes_on_where_it_was(tmp_path):
    whole = generate(TASK, 2, RECIPE, tmp_path / "whole")
    with pytest.raises(StoppedError):
        generate(TASK, 2, RECIPE, tmp_path / "stopped", stop)
    assert len(list(attempts_folder(tmp_path / "stopped", TASK).iterdir())) == 1
    reports = []
    stopped = generate(TASK, 2, RECIPE, tmp_path / "stopped", reports.append)
    assert reports == [True]
    pairs = zip(read_demonstrations(whole), read_demonstrations(stopped), strict=True)
    for expected, got in pairs:
        assert_same(got, expected)
    # A finished task is not touched again.
    assert generate(TASK, 2, RECIPE, tmp_path / "whole", stop) == whole
    assert [path.name for path in (tmp_path / "whole").iterdir()] == [whole.name]


def test_seeds_differ_between_attempts_tasks_and_runs():
    other = get_task("libero_object", 2)
    seeds = {
        attempt_seeds(task, seed, number)
        for task in (TASK, other)
        for seed in (0, 1)
        for number in range(10)
    }
    assert len(seeds) == 40
    assert attempt_seeds(TASK, 0, 3) == attempt_seeds(TASK, 0, 3)


def test_episodes_are_spread_over_the_tasks():
    shares = episode_shares(DemosConfig(suite="libero_object", episodes=23))
    assert list(shares.values()) == [3, 3, 3, 2, 2, 2, 2, 2, 2, 2]
    chosen = episode_shares(DemosConfig(suite="libero_object", episodes=5, tasks=(7, 2)))
    assert {task.index: count for task, count in chosen.items()} == {7: 3, 2: 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suite": "libero_moon"}, "libero_spatial"),
        ({"tasks": (10,)}, r"0\.\.9"),
        ({"episodes": 3}, "at least one per task"),
    ],
)
def test_options_that_do_not_fit_the_suite_end_the_command(options, message):
    with pytest.raises(ValueError, match=message):
        episode_shares(DemosConfig(**options))


@pytest.mark.parametrize(
    "options",
    [
        {"episodes": 0},
        {"workers": 0},
        {"placement_margin": -1.0},
        {"seed": -1},
        {"tasks": (1, 1)},
        {"style": "odd"},
        {"rollout_steps": 0},
        {"rollout_policy": "small", "images": True},
        {"rollout_policy": "small", "bundle": Path("some.npz")},
    ],
)
def test_options_are_checked(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        DemosConfig(**options)


def test_a_folder_is_for_one_run(tmp_path):
    config = DemosConfig(suite="libero_object", episodes=10, output=tmp_path)
    claim(config, episode_shares(config))
    claim(config, episode_shares(config))
    other = DemosConfig(suite="libero_object", episodes=20, output=tmp_path, seed=1)
    with pytest.raises(ValueError, match=r"seed: there 0, here 1; shares\..*there 1, here 2"):
        claim(other, episode_shares(other))


def command(output) -> list[str]:
    options = f"--suite libero_object --episodes 3 --tasks 0 1 --workers 2 --output {output}"
    return [sys.executable, "-m", "train.demos", *options.split()]


# The command does not listen to its workers, and so never ends.
STUCK = """
import sys
from tests.support.processes import wait_to_be_killed
from train import demos

demos._follow = lambda *args: wait_to_be_killed()
demos.main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_command_resumes_and_leaves_no_process(tmp_path):
    arguments = [sys.executable, "-c", STUCK, *command(tmp_path / "killed")[3:]]
    killed = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.DEVNULL)
    children = kill_when(killed, lambda: list((tmp_path / "killed").glob("**/*.hdf5")))
    assert children
    wait_until(lambda: not any(map(is_running, children)))

    bundle = tmp_path / "bundle.npz"
    arguments = [*command(tmp_path / "killed")[3:], "--bundle", str(bundle)]
    assert main(arguments) == 0
    assert main(command(tmp_path / "whole")[3:]) == 0
    for name in ("killed", "whole"):
        assert not list((tmp_path / name).glob("**/*.tmp"))
    files = sorted((tmp_path / "whole").glob("*.hdf5"))
    everything = []
    for path in files:
        expected = read_demonstrations(path)
        for got, other in zip(
            read_demonstrations(tmp_path / "killed" / path.name), expected, strict=True
        ):
            assert_same(got, other)
        everything += expected
    bundled = {each.start.seed: each for each in read_bundle(bundle)}
    for each in everything:
        assert_same(bundled[each.start.seed], each)
    figures = read_json(tmp_path / "whole" / "results.json")["figures"]
    assert figures["success"]["kept"] == 3
    assert figures["num_steps"] == sum(len(each) for each in everything)
    assert "expert success" in describe(figures)
    np.testing.assert_allclose(
        figures["actions"]["mean"][:6],
        np.concatenate([each.actions for each in everything]).mean(axis=0)[:6],
        rtol=1e-4,
    )


@pytest.mark.slow
def test_images_show_what_the_policy_would_have_seen(tmp_path):
    recipe = Recipe(seed=0, style="steady", placement_margin=0.0, image_size=48)
    path = generate(TASK, 1, recipe, tmp_path)
    (episode,), (demonstration,) = read_hdf5(path, images=True), read_demonstrations(path)
    assert episode.images is not None
    with Environment(TASK, cameras=POLICY_CAMERAS, image_size=48) as env:
        env.reset(demonstration.start)
        for step, action in enumerate(demonstration.executed[:6]):
            for name, picture in env.render().items():
                np.testing.assert_array_equal(episode.images[name][step], picture)
            env.step(action)


@pytest.mark.slow
def test_the_command_rolls_out_a_policy(tmp_path, capsys):
    options = "--suite libero_object --episodes 2 --tasks 0 1 --rollout-policy small"
    options += " --rollout-steps 40"
    assert main([*options.split(), "--output", str(tmp_path)]) == 0
    assert "before the expert" in capsys.readouterr().out
    for index in (0, 1):
        (demonstration,) = read_demonstrations(
            tmp_path / f"{get_task('libero_object', index).name}_demo.hdf5"
        )
        assert 0 <= demonstration.handover < len(demonstration)
