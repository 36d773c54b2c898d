"""The whole way once, as a user goes it: demonstrations, tokenizer, features, heads, an episode."""

import json

import numpy as np
import pytest

from rfsq_jax.libero.demonstrations.bundled import load_demonstrations
from rfsq_jax.libero.environment import POLICY_CAMERAS, Environment
from rfsq_jax.libero.placements import official_start
from rfsq_jax.libero.tasks import get_task
from rfsq_jax.policies import Observations, Policy
from tests.support.memory import give_back
from train import ae, features, heads

LOOP = ["batch-size=16", "loop.steps=40", "loop.steps-per-call=20", "loop.evaluate-every=40"]
FEW_CODES = ["model.rfsq.num-layers=4", "model.rfsq.dim=8"]
FEATURES = ["suites=libero_object", "episodes=4", "stride=24", "workers=1"]


def options(prefix, settings):
    return [f"--{prefix}{setting}" for setting in settings]


@pytest.mark.usefixtures("one_device")
def test_demonstrations_become_a_policy_that_acts_in_the_simulator(tmp_path, monkeypatch):
    tokenizer, stored, trained = (tmp_path / name for name in ("ae", "features", "heads"))
    monkeypatch.setattr("train.ae.load_bundled", episodes_of_two_tasks)
    monkeypatch.setattr("rfsq_jax.features.frames.load_demonstrations", of_two_tasks)
    ae.main(
        [
            "--suites=libero_object",
            "--against=None",
            *options("training.", [*LOOP, *FEW_CODES]),
            f"--output={tokenizer}",
        ]
    )
    give_back()
    made_for = f"tokenizer={tokenizer / 'tokenizer'}"
    features.main([*options("", [*FEATURES, made_for]), f"--output={stored}"])
    figures = json.loads((stored / "results.json").read_text())["figures"]
    assert figures["episodes"] == 4
    assert figures["held_out_episodes"] == 2
    give_back()
    heads.main(
        [
            *options("training.", LOOP),
            "--training.model.main.num-blocks=1",
            *("--training.loss.layer-weights", "1", "1", "1", "1"),
            *options("features.", [f"output={stored}"]),
            f"--{made_for}",
            f"--output={trained}",
        ]
    )
    assert len(json.loads((trained / "results.json").read_text())["figures"]["accuracy"]["main"])
    give_back()
    play(Policy.from_pretrained(trained / "policy"))


def of_two_tasks(suite):
    """The bundled demonstrations of two tasks: those of a whole suite take minutes to replay."""
    return [each for each in load_demonstrations(suite) if each.task_index < 2]


def episodes_of_two_tasks(suite):
    return [each.episode for each in of_two_tasks(suite)]


def play(policy, chunks=2):
    task = get_task("libero_object", 0)
    size = policy.backbone.spec.image_size
    with Environment(task, cameras=POLICY_CAMERAS, image_size=size) as env:
        observation = env.reset(official_start(env, 0))
        before = env.simulator_state
        for _ in range(chunks):
            pictures = env.render()
            seen = Observations(
                images=np.stack([pictures[camera] for camera in POLICY_CAMERAS])[None],
                instructions=[task.instruction],
                state=observation.state[None],
            )
            for action in policy.act(seen)[0]:
                observation = env.step(action)
        assert np.isfinite(env.simulator_state).all()
        assert np.abs(env.simulator_state - before).max() > 1e-3
