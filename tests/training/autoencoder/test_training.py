"""Training: resume, devices, the guard against NaN, and what is learned."""

import dataclasses

import jax
import numpy as np
import pytest

from rfsq_jax.data.action_space import Normalization
from rfsq_jax.data.action_spec import LIBERO
from rfsq_jax.parallel import sharding
from rfsq_jax.rfsq import RFSQConfig
from rfsq_jax.tokenizers import autoencoder
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.training.autoencoder import training as trainer
from rfsq_jax.training.autoencoder.training import TrainingConfig
from rfsq_jax.training.checkpoints import Checkpoints
from rfsq_jax.training.loop import LoopConfig
from rfsq_jax.training.state import OptimizerConfig

SHORT = LoopConfig(steps=40, steps_per_call=10, evaluate_every=20)


@pytest.fixture(scope="module")
def normalized(chunks):
    return Normalization.fit(chunks).normalize(chunks)


def one_device():
    return sharding.make_mesh(devices=jax.devices()[:1])


def config_of(conditioning, loop=SHORT):
    model = AutoencoderConfig(rfsq=RFSQConfig(conditioning=conditioning))
    return TrainingConfig(model=model, loop=loop)


def assert_trees(compare, first, second):
    jax.tree.map(compare, first, second)


class Recorder:
    """A metric writer that keeps everything."""

    def __init__(self):
        self.scalars = []

    def write(self, step, scalars):
        self.scalars.append((step, scalars))


@pytest.mark.parametrize("conditioning", ["none", "scale", "layernorm"])
def test_a_resumed_run_ends_like_an_uninterrupted_one(tmp_path, normalized, conditioning):
    config = config_of(conditioning)
    with Checkpoints(tmp_path / "whole", trainer.BEST_METRIC) as checkpoints:
        whole = trainer.train(
            config, normalized, normalized, mesh=one_device(), checkpoints=checkpoints
        )
    with Checkpoints(tmp_path / "parts", trainer.BEST_METRIC) as checkpoints:
        options = {"mesh": one_device(), "writer": InterruptingWriter(after=25)}
        with pytest.raises(InterruptedError):
            trainer.train(config, normalized, normalized, checkpoints=checkpoints, **options)
        assert checkpoints.latest_step == 20
    with Checkpoints(tmp_path / "parts", trainer.BEST_METRIC) as checkpoints:
        parts = trainer.train(
            config, normalized, normalized, mesh=one_device(), checkpoints=checkpoints
        )
    assert_trees(np.testing.assert_array_equal, whole, parts)


class InterruptingWriter:
    """A metric writer that fails once a step is passed, as a kill would."""

    def __init__(self, after):
        self.after = after

    def write(self, step, scalars):
        if step > self.after:
            raise InterruptedError(step)


def test_eight_devices_learn_what_one_does(normalized):
    config = config_of("layernorm")
    alone, together = Recorder(), Recorder()
    one = trainer.train(config, normalized, normalized, mesh=one_device(), writer=alone)
    mesh = sharding.make_mesh()
    assert mesh.size == 8
    eight = trainer.train(config, normalized, normalized, mesh=mesh, writer=together)
    losses = [[entry["loss"] for _, entry in curve if "loss" in entry]
              for curve in (alone.scalars, together.scalars)]  # fmt: skip
    assert len(losses[0]) == 4
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert_trees(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), one, eight)


def test_a_batch_is_split_over_the_devices(normalized):
    config, mesh = config_of("layernorm"), sharding.make_mesh()
    state = sharding.place(trainer.initial_state(config, normalized), mesh, sharding.REPLICATED)
    data = sharding.place(normalized, mesh, sharding.REPLICATED)
    step = jax.jit(trainer.make_update(config, LIBERO, mesh)).lower(state, data, jax.random.key(0))
    per_device = str(step.compile().as_text())
    assert "f32[8,8,7]" in per_device
    assert "all-reduce" in per_device


def test_the_loss_falls(normalized):
    config = config_of("layernorm", LoopConfig(steps=600, steps_per_call=100, evaluate_every=300))
    curve = Recorder()
    trainer.train(config, normalized, normalized, mesh=one_device(), writer=curve)
    losses = [scalars["loss"] for _, scalars in curve.scalars if "loss" in scalars]
    assert losses[-1] < 0.2 * losses[0]
    recorded = curve.scalars[0][1].keys()
    assert {"loss_translation", "loss_rotation", "loss_gripper", "balance"} <= recorded


def test_learned_scales_move_and_stay_positive(normalized):
    config = config_of("scale", LoopConfig(steps=300, steps_per_call=100, evaluate_every=300))
    params, state = trainer.train(config, normalized, normalized, mesh=one_device())
    scale = autoencoder.constants(config.model, params, state).scale
    assert (scale > 0).all()
    assert np.abs(np.asarray(scale) - 1).max() > 0.01


def test_nan_stops_the_run_and_saves_nothing_of_it(tmp_path, normalized):
    optimizer = OptimizerConfig(learning_rate=1e30, warmup_steps=0)
    config = dataclasses.replace(config_of("none"), optimizer=optimizer)
    with Checkpoints(tmp_path, trainer.BEST_METRIC) as checkpoints:
        with pytest.raises(FloatingPointError, match="NaN or inf in the steps up to"):
            trainer.train(
                config, normalized, normalized, mesh=one_device(), checkpoints=checkpoints
            )
        assert checkpoints.latest_step is None


def test_bad_chunks_are_refused(normalized, unchecked_types):
    config = config_of("none")
    with pytest.raises(ValueError, match=r"chunks must have shape \[M, T, 7\].*got \(3, 8, 6\)"):
        trainer.train(config, np.zeros((3, 8, 6), np.float32), normalized)
    broken = normalized.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="held_out must be finite"):
        trainer.train(config, normalized, broken)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LoopConfig(steps=0), "steps must be at least 1, got 0"),
        (lambda: LoopConfig(steps=10, steps_per_call=3), "multiples of steps_per_call"),
        (lambda: OptimizerConfig(learning_rate=0.0), "learning_rate must be above 0"),
        (lambda: trainer.LossConfig(balance=-1.0), "balance must be 0 or more"),
        (lambda: trainer.LossConfig(prefix_share=1.5), "prefix_share must be at most 1"),
        (lambda: TrainingConfig(batch_size=0), "batch_size must be at least 1"),
        (lambda: AutoencoderConfig(hidden_dim=0), "hidden_dim must be at least 1"),
    ],
)
def test_configs_validate_themselves(make, message):
    with pytest.raises(ValueError, match=message):
        make()
