"""Synthetic motion: data sets that differ, of chunks that share their statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from rfsq_jax.data.synthetic_motion import MotionShape, cosines, motion, normalized

SHAPE = MotionShape(sets=64, chunks=32, steps=8, dims=5)


@pytest.fixture(scope="module")
def drawn():
    return np.asarray(jax.jit(motion, static_argnums=0)(SHAPE, jax.random.key(0)))


@pytest.mark.parametrize("steps", [1, 5, 16])
def test_cosines_are_the_orthonormal_transform(steps):
    wanted = np.asarray(scipy.fft.dct(np.eye(steps), axis=0, norm="ortho"))
    np.testing.assert_allclose(cosines(steps), wanted, atol=1e-6)


def test_motion_is_finite_and_of_the_normalised_range(drawn):
    assert drawn.shape == (64, 32, 8, 5)
    assert np.isfinite(drawn).all()
    outer = np.quantile(np.abs(drawn), 0.9, axis=(1, 2))
    assert np.median(outer) > 0.3
    assert outer.max() < 2.0


def test_the_key_decides(drawn):
    again = jax.jit(motion, static_argnums=0)(SHAPE, jax.random.key(0))
    np.testing.assert_array_equal(again, drawn)
    assert (np.asarray(motion(SHAPE, jax.random.key(1))) != drawn).any()


def test_some_dims_are_constant_and_most_are_not(drawn):
    still = np.ptp(drawn, axis=(1, 2)) == 0
    assert 0.02 < still.mean() < 0.3


def test_some_chunks_idle_where_others_move(drawn):
    of_chunk = np.ptp(drawn, axis=2)
    idle = (of_chunk < 1e-6) & (of_chunk.max(axis=1, keepdims=True) > 0.1)
    assert 0.01 < idle.mean() < 0.5


def test_data_sets_differ_in_smoothness_more_than_their_halves(drawn):
    def roughness(chunks):
        change = np.square(np.diff(chunks, axis=-2)).mean((1, 2, 3))
        return np.log(change / chunks.var((1, 2, 3)))

    first, second = roughness(drawn[:, :16]), roughness(drawn[:, 16:])
    assert np.std(first) > 1.0
    assert np.corrcoef(first, second)[0, 1] > 0.8


def test_some_dims_lie_on_a_lattice(drawn):
    distinct = np.array([len(np.unique(np.round(dim, 5))) for dim in dims_of(drawn)])
    assert 0.05 < ((distinct > 1) & (distinct < 100)).mean() < 0.6


def dims_of(drawn):
    return np.moveaxis(drawn, -1, 1).reshape(-1, drawn.shape[1] * drawn.shape[2])


def test_normalising_centres_and_scales():
    rng = np.random.default_rng(0)
    signal = (5.0 + 3.0 * rng.uniform(-1, 1, (2, 50, 8, 3))).astype(np.float32)
    found = np.asarray(normalized(jnp.asarray(signal)))
    np.testing.assert_allclose(found.max((1, 2)), -found.min((1, 2)), rtol=1e-4)
    np.testing.assert_allclose(np.quantile(np.abs(found), 0.98, axis=(1, 2)), 1.0, rtol=1e-3)


def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match="dims must be at least 1, got 0"):
        MotionShape(dims=0)
