"""The terms that ordered tokens are trained for."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfsq_jax import rfsq
from rfsq_jax.rfsq import RFSQConfig, scan
from rfsq_jax.training.ordered import objective
from rfsq_jax.training.ordered.objective import Objective

QUANTIZER = RFSQConfig(
    dim=12, num_layers=4, conditioning="conditional", num_directions=3, hidden_dim=8, context_dim=2
)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(64, 12)).astype(np.float32) * np.geomspace(1, 0.05, 12, dtype=np.float32)
    context = np.sign(rng.normal(size=(64, 2))).astype(np.float32)
    state = jax.tree.map(jnp.asarray, rfsq.calibrate(QUANTIZER, z))
    return state, jnp.asarray(z), jnp.asarray(context)


def measured(chosen, sample, key=KEY):
    state, z, context = sample
    return objective.loss(chosen, QUANTIZER, state, z, context, key)


def test_by_default_it_is_the_mean_log_error_of_all_prefixes(sample):
    state, z, context = sample
    total, metrics = measured(Objective(), sample)
    decoded = rfsq.decode_prefixes(
        QUANTIZER, state, rfsq.encode(QUANTIZER, state, z, context), context
    )
    squared = np.square(np.asarray(decoded) - np.asarray(z)).mean(axis=(1, 2))
    assert float(total) == pytest.approx(np.log(squared + 1e-9).mean(), rel=1e-4)
    assert metrics.keys() == {"loss", "prefixes"}


def test_the_whole_sequence_alone_counts_if_that_is_asked_for(sample):
    state, z, context = sample
    errors = scan.prefixes(QUANTIZER, state, z, context).errors
    total, _ = measured(Objective(prefixes="whole"), sample)
    assert float(total) == pytest.approx(float(jnp.log(jnp.square(errors[-1]).mean())), rel=1e-4)


def test_drawn_prefixes_are_all_prefixes_on_average():
    errors = jnp.broadcast_to(jnp.array([1.0, 0.1, 0.01])[:, None, None], (3, 400, 2))
    drawn, every = (
        float(objective._of_prefixes(Objective(prefixes=which), errors, KEY))
        for which in ("drawn", "all")
    )
    assert drawn == pytest.approx(every, abs=1e-5)


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_one_code_of_each_chunk_is_one_level_off(seed):
    half = 3
    offsets = np.random.default_rng(seed).integers(-half, half + 1, (4, 16, 3)).astype(np.float32)
    codes = objective.one_level_off(QUANTIZER, jnp.asarray(offsets), jax.random.key(seed))
    moved = np.abs(np.asarray(codes) - (offsets + half))
    assert (moved.sum(axis=(0, 2)) == 1).all()
    assert np.asarray(codes).min() >= 0
    assert np.asarray(codes).max() <= 2 * half


def test_equally_frequent_levels_are_balanced_and_others_are_not():
    equal = jnp.tile(jnp.arange(-3.0, 4.0), 10)[None, :, None]
    assert float(objective.imbalance(QUANTIZER, equal)) == pytest.approx(0, abs=1e-6)
    assert float(objective.imbalance(QUANTIZER, equal * 0)) == pytest.approx(1)


def test_like_codes_are_smooth_and_unrelated_ones_are_not():
    drawn = np.random.default_rng(0).integers(-3, 4, (2, 2, 5000, 3))
    offsets, others = jnp.asarray(drawn, jnp.float32)
    assert float(objective.roughness(offsets, offsets)) == 0
    assert float(objective.roughness(offsets, others)) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", ["perturbation", "balance", "smoothness"])
def test_a_term_with_a_weight_is_added_and_falls_when_it_is_followed(sample, name):
    state, z, context = sample
    chosen = dataclasses.replace(Objective(), **{name: 5.0})
    total, metrics = measured(chosen, sample)
    assert float(total) == pytest.approx(float(metrics["prefixes"] + 5.0 * metrics[name]), rel=1e-5)
    alone = dataclasses.replace(chosen, **{name: 1.0})

    optimizer = optax.adam(1e-3)

    @jax.jit
    def step(networks, moments):
        def term(networks):
            found = state._replace(networks=networks)
            return objective.loss(alone, QUANTIZER, found, z, context, KEY)[1][name]

        slope, moments = optimizer.update(jax.grad(term)(networks), moments)
        return optax.apply_updates(networks, slope), moments

    networks, moments = state.networks, optimizer.init(state.networks)
    for _ in range(80):
        networks, moments = step(networks, moments)
    after = measured(alone, (state._replace(networks=networks), z, context))[1][name]
    assert float(after) < float(metrics[name]) - 0.005


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"discount": 1.5}, "discount"),
        ({"balance": -1.0}, "balance must be 0 or more"),
        ({"smoothness": float("nan")}, "smoothness"),
    ],
)
def test_impossible_objectives_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Objective(**options)
