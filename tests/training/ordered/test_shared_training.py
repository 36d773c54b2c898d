"""Training the shared path: resume, what is learned, and what it is shown."""

import dataclasses

import jax
import numpy as np
import pytest

from rfsq_jax.data.synthetic_motion import MotionShape
from rfsq_jax.parallel import sharding
from rfsq_jax.tokenizers.ordered import shared_network as network
from rfsq_jax.tokenizers.ordered.shared_config import SharedConfig
from rfsq_jax.training.checkpoints import Checkpoints
from rfsq_jax.training.loop import LoopConfig
from rfsq_jax.training.ordered import shared_sets
from rfsq_jax.training.ordered import shared_training as trainer
from rfsq_jax.training.ordered.shared_training import SharedTrainingConfig

CONFIG = SharedTrainingConfig(
    model=SharedConfig(horizon=8, hidden_dim=16, num_blocks=1, grids=((9, 5, 3), (5, 5, 5))),
    loop=LoopConfig(steps=8, steps_per_call=2, evaluate_every=4),
    sets=8,
    measured=8,
    trained=2,
    dims=4,
    tokens=6,
    tokens_trained=3,
)


def one_device():
    return sharding.make_mesh(devices=jax.devices()[:1])


class Recorder:
    """A metric writer that keeps everything, and fails once a step is passed, as a kill would."""

    def __init__(self, after=None):
        self.scalars, self.after = [], after

    def write(self, step, scalars):
        if self.after is not None and step > self.after:
            raise InterruptedError(step)
        self.scalars.append((step, scalars))


def test_a_resumed_run_ends_like_an_uninterrupted_one(tmp_path, episodes):
    robots, mesh = [episodes], one_device()
    with Checkpoints(tmp_path / "whole", trainer.BEST_METRIC) as checkpoints:
        whole = trainer.train(CONFIG, robots, mesh=mesh, checkpoints=checkpoints)
    with Checkpoints(tmp_path / "parts", trainer.BEST_METRIC) as checkpoints:
        killed = {"writer": Recorder(after=5), "checkpoints": checkpoints}
        with pytest.raises(InterruptedError):
            trainer.train(CONFIG, robots, mesh=mesh, **killed)
        assert checkpoints.latest_step == 4
    with Checkpoints(tmp_path / "parts", trainer.BEST_METRIC) as checkpoints:
        parts = trainer.train(CONFIG, robots, mesh=mesh, checkpoints=checkpoints)
    jax.tree.map(np.testing.assert_array_equal, whole, parts)
    assert whole.w_in.dtype == np.int8
    start = network.frozen(trainer.initial_state(CONFIG).params)
    assert (np.asarray(whole.w_out) != np.asarray(start.w_out)).any()


def test_the_loss_falls(episodes):
    loop = LoopConfig(steps=120, steps_per_call=20, evaluate_every=60)
    curve = Recorder()
    config = dataclasses.replace(CONFIG, loop=loop)
    trainer.train(config, [episodes], mesh=one_device(), writer=curve)
    held_out = [scalars[trainer.BEST_METRIC] for _, scalars in curve.scalars
                if trainer.BEST_METRIC in scalars]  # fmt: skip
    first = trainer.initial_state(config).params
    key = jax.random.key(config.loop.seed + 1)
    bundled = shared_sets.coefficients(episodes, 8)
    untrained = float(jax.jit(trainer._loss_function(config))(first, bundled, key)[0])
    assert held_out[-1] < untrained - 0.05
    losses = [scalars for _, scalars in curve.scalars if "loss" in scalars]
    assert {"likelihood", "levels", "spread"} <= losses[0].keys()


def test_eight_devices_learn_what_one_does(episodes):
    alone, together = Recorder(), Recorder()
    trainer.train(CONFIG, [episodes], mesh=one_device(), writer=alone)
    trainer.train(CONFIG, [episodes], mesh=sharding.make_mesh(), writer=together)
    losses = [[entry["loss"] for _, entry in curve.scalars if "loss" in entry]
              for curve in (alone, together)]  # fmt: skip
    np.testing.assert_allclose(*losses, rtol=1e-3)


@pytest.fixture(scope="module")
def drawn(episodes):
    shape = MotionShape(sets=64, chunks=16, steps=8, dims=9)
    bundled = shared_sets.coefficients(episodes, 8)
    return shared_sets.batch(shape, 4, bundled, jax.random.key(0))


def test_batches_vary_dims_and_frequencies(drawn):
    present = np.asarray(drawn.present)
    assert present.shape == (64 * 4, 9, 8)
    dims = present.any(axis=2).sum(axis=1)
    assert set(np.unique(dims)) == set(range(1, 10))
    frequencies = present.any(axis=1).sum(axis=1)
    assert frequencies.min() >= shared_sets.SHORTEST
    assert 0.6 < (frequencies == 8).mean() < 1.0
    assert not np.asarray(drawn.z)[~present].any()


def test_priors_are_those_of_the_data_sets(drawn):
    mean, deviation = np.asarray(drawn.mean), np.asarray(drawn.deviation)
    by_set = mean.reshape(64, 4, 9, 8)
    np.testing.assert_array_equal(by_set, np.broadcast_to(by_set[:, :1], by_set.shape))
    off = (np.asarray(drawn.z) - mean) / deviation
    assert 0.8 < np.sqrt(np.square(off[np.asarray(drawn.present)]).mean()) < 1.2


def test_coefficients_leave_grippers_out(episodes):
    assert shared_sets.coefficients(episodes, 8).shape == (12 * 53, 8, 6)
    assert shared_sets.coefficients(episodes, 8, stride=2).shape == (12 * 27, 8, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"suites": ()}, "suites must be at least one"),
        ({"trained": 99}, "trained must be at most measured, got 99"),
        ({"tokens_trained": 8}, "tokens_trained must be at most"),
        ({"sets": 0}, "sets must be at least 1, got 0"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
    ],
)
def test_a_bad_config_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_unknown_suites_are_refused():
    with pytest.raises(ValueError, match="suite must have bundled demonstrations"):
        shared_sets.load_robots(("libero_nowhere",))
