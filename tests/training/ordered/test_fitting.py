"""Fitting ordered tokenizers: which path, what is held out, how it resumes and stops."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rfsq_jax import ActionTokenizer, rfsq
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.data.action_spec import LIBERO, ActionGroup, ActionSpec
from rfsq_jax.tokenizers.ordered.coefficients import Coefficients
from rfsq_jax.tokenizers.ordered.tokenizer import OrderedTokenizer
from rfsq_jax.training.checkpoints import Checkpoints
from rfsq_jax.training.loop import LoopConfig
from rfsq_jax.training.ordered import fitting, objective, training
from rfsq_jax.training.ordered.objective import Objective
from rfsq_jax.training.ordered.training import OrderedTrainingConfig
from tests.support.ordered import LOOP, TRAINING, motion


@pytest.fixture(scope="module")
def parts():
    chunks = motion(LIBERO, 8, 600)
    coefficients = Coefficients(ActionSpace.fit(chunks))
    return coefficients.split(chunks[:500]), coefficients.split(chunks[500:])


def train(config, parts, **run):
    rows, held_out = map(fitting.as_rows, parts)
    return training.train(config, config.quantizer(rows, 3), rows, held_out, **run)


def loss(quantizer, state, rows):
    z, context = jnp.asarray(rows.z), jnp.asarray(rows.context)
    state = jax.tree.map(jnp.asarray, state)
    return float(objective.loss(Objective(), quantizer, state, z, context, jax.random.key(0))[0])


def test_little_data_are_served_by_the_shared_path_alone():
    chunks = motion(LIBERO, 8, 60)
    fitted = ActionTokenizer.fit(chunks, kind="ordered", num_tokens=6)
    assert isinstance(fitted, OrderedTokenizer)
    assert fitted.dense is None
    error = np.square(fitted.decode(fitted.encode(chunks)) - chunks).mean()
    assert error < 0.1 * chunks.var()


def test_synthetic_motion_widens_what_the_shared_path_expects():
    chunks = 0.1 * motion(LIBERO, 8, 60)
    chunks[..., :6] += np.linspace(-1, 1, 8)[:, None]
    space = ActionSpace.fit(chunks, LIBERO)
    own, both = (
        fitting.fit(space, chunks, num_tokens=6, dense=False, synthetic=which).shared.prior
        for which in (False, True)
    )
    assert both.deviation.shape == own.deviation.shape
    assert (both.deviation[2:] > own.deviation[2:]).mean() > 0.8


def test_much_data_get_the_dense_path_if_it_errs_less(monkeypatch):
    monkeypatch.setattr(fitting, "FEWEST_CHUNKS", 500)
    chunks = motion(LIBERO, 8, 600)
    fitted = OrderedTokenizer.fit(chunks, num_tokens=3, training=TRAINING)
    coefficients = Coefficients(fitted.space)
    held_out = coefficients.split(chunks[-60:])
    shared = fitting._error(fitted.shared, held_out)
    if fitted.dense is None:
        train_part, held_part = map(coefficients.split, fitting._split(chunks))
        dense = fitting.dense_path(TRAINING, train_part, held_part, 3)
        assert fitting._error(dense, held_out) > shared
    else:
        assert fitting._error(fitted.dense, held_out) <= shared


@pytest.mark.parametrize(("steps", "count"), [(40, 3), (9, 1), (2000, 200)])
def test_held_out_chunks_share_no_step_with_the_others(steps, count):
    values = np.arange(steps, dtype=np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(values, 8)[..., None]
    kept, held_out = fitting._split(windows)
    assert len(kept) > 0
    assert abs(len(held_out) - count) <= 0.05 * count
    if steps > 20:
        assert not set(kept.ravel()) & set(held_out.ravel())


def test_what_is_held_out_is_spread_over_all_chunks():
    windows = np.repeat(np.arange(8000, dtype=np.float32)[:, None], 8, axis=1)[..., None]
    kept, held_out = fitting._split(windows)
    for part in (kept, held_out):
        counts = np.histogram(part[:, 0, 0], bins=10, range=(0, 8000))[0]
        assert counts.min() > 0.9 * counts.mean()
    assert len(held_out) == 800


def test_training_improves_on_the_start(parts):
    rows, held_out = map(fitting.as_rows, parts)
    quantizer = TRAINING.quantizer(rows, 3)
    start = rfsq.calibrate(quantizer, rows.z, 0)
    state = train(TRAINING, parts)
    before, after = (loss(quantizer, each, held_out) for each in (start, state))
    assert after < before


def test_a_run_that_was_cut_off_ends_with_the_same_bits(parts, tmp_path, monkeypatch):
    whole = train(TRAINING, parts)
    half = dataclasses.replace(TRAINING, loop=dataclasses.replace(LOOP, steps=20, patience=None))

    class CutOffError(Exception):
        pass

    with Checkpoints(tmp_path, training.BEST_METRIC) as checkpoints:
        original = checkpoints.save

        def save_once(step, state, metrics):
            original(step, state, metrics)
            raise CutOffError

        monkeypatch.setattr(checkpoints, "save", save_once)
        with pytest.raises(CutOffError):
            train(half, parts, checkpoints=checkpoints)
    with Checkpoints(tmp_path, training.BEST_METRIC) as checkpoints:
        assert checkpoints.latest_step == 10
        resumed = train(half, parts, checkpoints=checkpoints)
    for ours, theirs in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_training_stops_when_nothing_gets_better_and_returns_the_best(parts):
    loop = LoopConfig(steps=200, steps_per_call=10, evaluate_every=10, patience=2)
    optimizer = dataclasses.replace(TRAINING.optimizer, learning_rate=1e-12)
    config = dataclasses.replace(TRAINING, loop=loop, optimizer=optimizer)
    seen = []

    class Writer:
        def write(self, step, scalars):
            seen.append((step, scalars))

        def close(self):
            pass

    state = train(config, parts, writer=Writer())
    evaluated = [step for step, scalars in seen if training.BEST_METRIC in scalars]
    assert evaluated[-1] < 200
    rows, held_out = map(fitting.as_rows, parts)
    value, name = loss(config.quantizer(rows, 3), state, held_out), training.BEST_METRIC
    best = min(scalars[name] for _, scalars in seen if name in scalars)
    assert value == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_levels": 9, "num_directions": 4}, "at most 4096"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_impossible_trainings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        OrderedTrainingConfig(**options)


def test_a_robot_of_grippers_alone_is_refused():
    spec = ActionSpec((ActionGroup("gripper", 2, bounds=(0.0, 1.0)),))
    chunks = np.zeros((20, 8, 2), np.float32)
    with pytest.raises(ValueError, match="with a dim that is no gripper"):
        ActionTokenizer.fit(chunks, kind="ordered", spec=spec)
