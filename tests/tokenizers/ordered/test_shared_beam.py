"""The search along the shared path: as good as greedy or better, and the same ids everywhere."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rfsq_jax.data.synthetic_motion import MotionShape, cosines, motion
from rfsq_jax.parallel import sharding
from rfsq_jax.tokenizers.ordered import shared, shared_files
from rfsq_jax.tokenizers.ordered.shared import Prior

pytestmark = pytest.mark.numerics
TOKENS = 7
CONFIG, PARAMS = shared_files.load_shared(8)
search = jax.jit(shared.encode_decoded, static_argnums=(0, 4, 5))
encode = jax.jit(shared.encode, static_argnums=(0, 4))
decode = jax.jit(shared.decode, static_argnums=0)


@pytest.fixture(scope="module")
def z():
    shape = MotionShape(sets=1, chunks=48, steps=8, dims=5)
    signal = np.asarray(motion(shape, jax.random.key(3))[0])
    return np.einsum("kt,nta->nka", cosines(8), signal)


@pytest.fixture(scope="module")
def prior(z):
    return Prior.fit(z)


@pytest.fixture(scope="module")
def found(z, prior):
    return search(CONFIG, PARAMS, prior, z, TOKENS, 4)


def test_ids_decode_to_what_the_search_says(prior, found):
    ids, values = found
    np.testing.assert_array_equal(decode(CONFIG, PARAMS, prior, ids), values)


def test_a_beam_of_one_is_greedy(z, prior):
    ids, values = search(CONFIG, PARAMS, prior, z, TOKENS, 1)
    np.testing.assert_array_equal(ids, encode(CONFIG, PARAMS, prior, z, TOKENS))
    np.testing.assert_array_equal(values, decode(CONFIG, PARAMS, prior, ids))


def test_a_wide_search_errs_less_than_greedy(z, prior):
    errors = [
        np.square(np.asarray(search(CONFIG, PARAMS, prior, z, TOKENS, beam)[1]) - z).mean()
        for beam in (1, 16)
    ]
    assert errors[1] < 0.95 * errors[0]


def test_of_one_token_a_wider_search_tries_all_that_a_narrower_one_does(z, prior):
    errors = [
        np.square(np.asarray(search(CONFIG, PARAMS, prior, z, 1, beam)[1]) - z).sum((1, 2))
        for beam in (2, 8, 64)
    ]
    for few, many in itertools.pairwise(errors):
        # Errors are compared in integers.
        assert (many <= few * 1.01 + 1e-6).all()


def test_neither_batch_nor_transformation_matters(z, prior, found):
    ids = np.asarray(found[0])
    np.testing.assert_array_equal(search(CONFIG, PARAMS, prior, z[5:6], TOKENS, 4)[0], ids[5:6])
    mapped = jax.vmap(
        lambda row: shared.encode_decoded(CONFIG, PARAMS, prior, row[None], TOKENS, 4)[0][0]
    )(jnp.asarray(z))
    np.testing.assert_array_equal(mapped, ids)
    with jax.disable_jit():
        eager = shared.encode_decoded(CONFIG, PARAMS, prior, z[:2], TOKENS, 4)[0]
    np.testing.assert_array_equal(eager, ids[:2])


def test_programs_and_devices_do_not_matter(z, prior, found):
    function = jax.jit(partial(shared.encode_decoded, CONFIG, num_tokens=TOKENS, beam=4))
    plain = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
    compiled = function.lower(PARAMS, prior, z).compile(compiler_options=plain)
    np.testing.assert_array_equal(compiled(PARAMS, prior, z)[0], found[0])
    placed = jax.device_put(z, sharding.batch_sharding(sharding.make_mesh()))
    np.testing.assert_array_equal(search(CONFIG, PARAMS, prior, placed, TOKENS, 4)[0], found[0])
