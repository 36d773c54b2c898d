"""The laws of the losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfsq_jax.training.heads import objective as losses

LEVELS = 7


@given(st.integers(0, LEVELS - 1), st.floats(0, 1))
def test_targets_are_distributions_around_the_right_level(code, smoothing):
    target = np.asarray(losses.level_targets(jnp.array([code]), LEVELS, smoothing)[0])
    np.testing.assert_allclose(target.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(target[code], 1 - smoothing, atol=1e-6)
    far = [level for level in range(LEVELS) if abs(level - code) > 1]
    np.testing.assert_array_equal(target[far], 0)


def test_cross_entropy_weighs_layers():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 3, LEVELS)).astype(np.float32)
    codes = rng.integers(0, LEVELS, (4, 3))
    log_probabilities = np.asarray(jax.nn.log_softmax(logits))
    per_layer = -np.take_along_axis(log_probabilities, codes[..., None], -1)[..., 0].mean(axis=0)
    for weights in ([1.0, 1.0, 1.0], [3.0, 1.0, 0.5]):
        loss = losses.cross_entropy(logits, codes, jnp.array(weights))
        np.testing.assert_allclose(loss, np.average(per_layer, weights=weights), rtol=1e-5)


def test_imbalance_is_zero_for_the_right_use_and_punishes_the_commonest_level():
    codes = jnp.array([[0], [1], [1], [1]])
    right = jnp.log(jnp.array([[[0.25, 0.75]]] * 4))
    lazy = jnp.array([[[0.0, 20.0]]] * 4)
    np.testing.assert_allclose(losses.imbalance(right, codes), 0, atol=1e-6)
    assert losses.imbalance(lazy, codes) > 1
    gradient = jax.grad(losses.imbalance)(jnp.zeros((4, 1, 2)), codes)
    assert (gradient[..., 0] > 0).all()


@given(st.floats(0.05, 0.95))
def test_perturbation_moves_about_its_share_by_one_level(share):
    codes = jnp.full((5000,), 3)
    moved = losses.perturb(jax.random.key(0), codes, LEVELS, share)
    assert set(np.unique(moved)) == {2, 3, 4}
    assert float((moved != 3).mean()) == pytest.approx(share, abs=0.03)
    edge = losses.perturb(jax.random.key(0), jnp.zeros((500,), jnp.int32), LEVELS, share)
    assert edge.min() == 0


def test_own_codes_replace_whole_steps():
    codes, own = jnp.zeros((50, 8, 3, 2), jnp.int32), jnp.ones((50, 8, 3, 2), jnp.int32)
    mixed = np.asarray(losses.replace_steps(jax.random.key(0), codes, own, jnp.array(0.3)))
    per_step = mixed.mean(axis=(2, 3))
    assert set(np.unique(per_step)) == {0.0, 1.0}
    assert per_step.mean() == pytest.approx(0.3, abs=0.08)
