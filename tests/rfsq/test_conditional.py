"""Conditional layers: the laws of the quantiser, in every program, and against integers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from rfsq_jax import rfsq
from rfsq_jax.parallel.sharding import make_mesh
from rfsq_jax.rfsq import RFSQConfig, beam, conditional_start, exact, scan
from tests.support.conditional import config, decode_in_integers, sample, trained_like

pytestmark = pytest.mark.numerics

CONFIGS = {
    "usual": config(context_dim=3),
    "even levels": config(num_levels=4, num_directions=2),
    "one of everything": config(dim=1, num_layers=1, num_levels=2, num_directions=1, hidden_dim=1),
    "many dims": config(dim=200, num_layers=2, num_directions=6, hidden_dim=64),
}
SEEDS = st.integers(0, 99)


@pytest.fixture(params=CONFIGS, scope="module")
def quantizer(request):
    chosen = CONFIGS[request.param]
    return chosen, trained_like(chosen)


@given(seed=SEEDS)
@settings(max_examples=10)
def test_codes_alone_give_the_forward_values_bit_for_bit(quantizer, seed):
    chosen, state = quantizer
    z, context = sample(chosen, 16, seed)
    z_hat, codes, _ = rfsq.quantize(chosen, state, z, context=context)
    assert codes.shape == (16, chosen.num_directions, chosen.num_layers)
    np.testing.assert_array_equal(rfsq.encode(chosen, state, z, context), codes)
    np.testing.assert_array_equal(rfsq.decode(chosen, state, codes, context=context), z_hat)


def test_eager_programs_agree():
    chosen = config(num_layers=2, context_dim=3)
    state = trained_like(chosen)
    z, context = sample(chosen, 5, 3)
    z_hat, codes, _ = rfsq.quantize(chosen, state, z, context=context)
    with jax.disable_jit():
        np.testing.assert_array_equal(rfsq.encode(chosen, state, z, context), codes)
        np.testing.assert_array_equal(rfsq.decode(chosen, state, codes, context=context), z_hat)


def test_batches_and_transformations_do_not_matter():
    chosen, state = CONFIGS["usual"], trained_like(CONFIGS["usual"])
    z, context = sample(chosen, 64, 1)
    codes = rfsq.encode(chosen, state, z, context)
    for count in (1, 2, 7, 33):
        some = rfsq.encode(chosen, state, z[:count], context[:count])
        np.testing.assert_array_equal(some, codes[:count])

    def one(row, told):
        return rfsq.encode(chosen, state, row, told)

    np.testing.assert_array_equal(jax.vmap(one)(z, context), codes)
    scanned = jax.lax.scan(lambda _, row: (None, one(*row)), None, (z, context))[1]
    np.testing.assert_array_equal(scanned, codes)
    folded = rfsq.encode(chosen, state, z.reshape(4, 16, -1), context.reshape(4, 16, -1))
    np.testing.assert_array_equal(folded.reshape(codes.shape), codes)


def test_codes_are_the_same_on_eight_devices():
    chosen, state = CONFIGS["usual"], trained_like(CONFIGS["usual"])
    z, context = sample(chosen, 64, 2)
    mesh = make_mesh()
    spread = [jax.device_put(x, NamedSharding(mesh, PartitionSpec("data"))) for x in (z, context)]
    codes = rfsq.encode(chosen, state, *spread)
    np.testing.assert_array_equal(codes, rfsq.encode(chosen, state, z, context))
    decoded = rfsq.decode(chosen, state, codes, context=spread[1])
    np.testing.assert_array_equal(decoded, rfsq.decode(chosen, state, codes, context=context))


@given(seed=SEEDS)
@settings(max_examples=10)
def test_integers_decode_to_the_same_bits(quantizer, seed):
    chosen, state = quantizer
    rng = np.random.default_rng(seed)
    shape = (16, chosen.num_directions, chosen.num_layers)
    codes, context = rng.integers(0, chosen.num_levels, shape), sample(chosen, 16, seed)[1]
    expected = decode_in_integers(chosen, state, codes, context)
    found = rfsq.decode_prefixes(chosen, state, codes, context)
    np.testing.assert_array_equal(np.asarray(found, np.float64), expected)


def test_frozen_weights_are_the_same_function(quantizer):
    chosen, state = quantizer
    frozen = conditional_start.frozen(state)
    assert frozen.networks.w_out.dtype == jnp.int8
    z, context = sample(chosen, 16, 4)
    codes = rfsq.encode(chosen, state, z, context)
    np.testing.assert_array_equal(rfsq.encode(chosen, frozen, z, context), codes)
    np.testing.assert_array_equal(
        rfsq.decode(chosen, frozen, codes, context=context),
        rfsq.decode(chosen, state, codes, context=context),
    )


def test_every_prefix_decodes_to_the_forward_value_of_its_layers(quantizer):
    chosen, state = quantizer
    z, context = sample(chosen, 16, 5)
    codes = rfsq.encode(chosen, state, z, context)
    prefixes = rfsq.decode_prefixes(chosen, state, codes, context)
    assert prefixes.shape == (chosen.num_layers + 1, 16, chosen.dim)
    for depth in range(chosen.num_layers + 1):
        found = rfsq.decode(chosen, state, codes, depth, context=context)
        np.testing.assert_array_equal(found, prefixes[depth])
    errors = scan.prefixes(chosen, state, z, context).errors
    np.testing.assert_array_equal(errors, np.asarray(exact.as_values(z)) - np.asarray(prefixes))


def test_the_error_falls_with_every_layer_from_the_start():
    chosen = config(dim=12, num_layers=8, num_directions=4)
    z, _ = sample(chosen, 2000, 0)
    state = rfsq.calibrate(chosen, z)
    codes = rfsq.encode(chosen, state, z)
    prefixes = np.asarray(rfsq.decode_prefixes(chosen, state, codes))
    errors = np.square(prefixes - np.asarray(z)).mean(axis=(1, 2))
    assert (np.diff(errors) < 0).all()
    assert errors[-1] < 0.02 * errors[0]
    shares = np.stack([(codes == level).mean(axis=0) for level in range(chosen.num_levels)])
    assert shares.max() < 0.9


def test_plain_layers_refine_the_dims_in_turn():
    chosen = config(dim=4, num_layers=6, num_directions=2)
    z = np.random.default_rng(0).uniform(-1, 1, (500, 4)).astype(np.float32)
    z_hat = rfsq.quantize(chosen, rfsq.init(chosen), z)[0]
    assert np.abs(z_hat - z).max() < 1 / 7**2


@given(st.integers(0, 9))
@settings(max_examples=5)
def test_any_codes_decode_to_bounded_values(seed):
    chosen, state = CONFIGS["usual"], trained_like(CONFIGS["usual"], seed)
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 7, (256, 3, 4))
    values = rfsq.decode_prefixes(chosen, state, codes, sample(chosen, 256, seed)[1])
    assert bool(jnp.isfinite(values).all())
    assert float(jnp.abs(values).max()) <= 2 * exact.LARGEST_VALUE


def test_values_beyond_reach_saturate_and_stay_finite():
    chosen, state = CONFIGS["usual"], trained_like(CONFIGS["usual"])
    z, context = sample(chosen, 8, 0)
    z_hat = rfsq.quantize(chosen, state, 1e6 * z, context=context)[0]
    assert float(jnp.abs(z_hat).max()) <= 2 * exact.LARGEST_VALUE


def test_gradients_reach_every_part_and_are_finite():
    chosen, state = CONFIGS["usual"], trained_like(CONFIGS["usual"])
    z, context = sample(chosen, 64, 0)

    def loss(networks, discount):
        errors = scan.prefixes(
            chosen, state._replace(networks=networks), z, context, discount
        ).errors
        return jnp.square(errors).mean()

    values, slopes = zip(
        *(jax.value_and_grad(loss)(state.networks, discount) for discount in (1.0, 0.5)),
        strict=True,
    )
    assert values[0] == values[1]
    for name, whole, half in zip(state.networks._fields, *slopes, strict=True):
        assert bool(jnp.isfinite(whole).all()), name
        assert bool((whole != 0).any()), name
        if name != "b_memory":
            assert not np.array_equal(whole, half), name


def test_without_discount_a_layer_answers_for_the_next_prefix_alone():
    chosen, state = CONFIGS["usual"], trained_like(CONFIGS["usual"])
    z, context = sample(chosen, 64, 0)

    def error_of(depth):
        def loss(networks):
            changed = state._replace(networks=networks)
            errors = scan.prefixes(chosen, changed, z, context, discount=0.0).errors
            return jnp.square(errors[depth]).mean()

        slope = jax.grad(loss)(state.networks).log_step
        return np.flatnonzero(np.abs(slope).sum(axis=1)).tolist()

    assert error_of(3) == [2]
    assert error_of(1) == [0]


def test_a_wider_search_finds_better_codes_that_decode_alike():
    chosen = config(dim=12, num_layers=5, num_directions=4, context_dim=3)
    z, context = sample(chosen, 400, 1)
    state = trained_like(chosen, 1)
    errors = []
    for width in (1, 2, 8):
        codes, z_hat = beam.encode(chosen, state, z, context, width)
        decoded = rfsq.decode(chosen, state, jnp.moveaxis(codes, 0, -1), context=context)
        np.testing.assert_array_equal(decoded, z_hat)
        errors.append(float(jnp.square(z_hat - z).mean()))
    assert errors[2] < errors[1] < errors[0]
    few = beam.encode(chosen, state, z[:3], context[:3], 8)[0]
    np.testing.assert_array_equal(few, codes[:, :3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_directions": 7, "dim": 9}, "num_directions"),
        ({"num_directions": 3, "dim": 2}, "num_directions"),
        ({"dim": 2000}, "dim"),
        ({"hidden_dim": 0}, "hidden_dim"),
        ({"context_dim": -1}, "context_dim"),
    ],
)
def test_sizes_that_exact_sums_have_no_room_for_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        config(**options)


def test_a_context_is_asked_for_and_refused_by_name():
    chosen, state = CONFIGS["usual"], trained_like(CONFIGS["usual"])
    z, context = sample(chosen, 4, 0)
    with pytest.raises(ValueError, match="context must be given"):
        rfsq.encode(chosen, state, z)
    with pytest.raises(ValueError, match="context must be of shape"):
        rfsq.encode(chosen, state, z, context[:, :2])
    with pytest.raises(ValueError, match="context must be finite"):
        rfsq.encode(chosen, state, z, context * np.nan)
    with pytest.raises(ValueError, match="context_dim is 0"):
        rfsq.encode(RFSQConfig(dim=6), rfsq.init(RFSQConfig(dim=6)), z, context)


def test_what_needs_constants_is_refused():
    chosen = CONFIGS["even levels"]
    state = trained_like(chosen)
    with pytest.raises(ValueError, match="conditioning must be constant"):
        rfsq.decode_levels(chosen, state, jnp.zeros((2, 2, 4)))
    with pytest.raises(ValueError, match="num_layers must be 0 to 4"):
        rfsq.decode(chosen, state, jnp.zeros((2, 2, 4), jnp.int32), 5)
