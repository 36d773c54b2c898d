"""The shared path: same bits everywhere, every id decodes, any robot, any range."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rfsq_jax.data.synthetic_motion import MotionShape, cosines, motion
from rfsq_jax.parallel import sharding
from rfsq_jax.tokenizers.ordered import shared, shared_files
from rfsq_jax.tokenizers.ordered import shared_moves as moves
from rfsq_jax.tokenizers.ordered import shared_network as network
from rfsq_jax.tokenizers.ordered.shared import Prior
from rfsq_jax.tokenizers.ordered.shared_config import HORIZONS, NUM_IDS, Escapes, SharedConfig

pytestmark = pytest.mark.numerics
TOKENS = 6
CONFIG = SharedConfig(horizon=8, hidden_dim=16)
encode = jax.jit(shared.encode, static_argnums=(0, 4))
decode = jax.jit(shared.decode, static_argnums=0)
decode_prefixes = jax.jit(shared.decode_prefixes, static_argnums=0)


def busy(config, seed=0):
    """Frozen parameters of a network that moves means and deviations a lot."""
    params = network.init(config, jax.random.key(seed))
    draw = jax.random.normal(jax.random.key(seed + 1), params.w_out.shape)
    return network.frozen(params._replace(w_out=0.05 * draw))


def coefficients(horizon, action_dim, chunks=32, seed=0):
    shape = MotionShape(sets=1, chunks=chunks, steps=horizon, dims=action_dim)
    signal = np.asarray(motion(shape, jax.random.key(seed))[0])
    return np.einsum("kt,nta->nka", cosines(horizon), signal)


PARAMS = busy(CONFIG)


@pytest.fixture(scope="module")
def z():
    return coefficients(8, 5)


@pytest.fixture(scope="module")
def prior(z):
    return Prior.fit(z)


@pytest.fixture(scope="module")
def ids(z, prior):
    return np.asarray(encode(CONFIG, PARAMS, prior, z, TOKENS))


@pytest.fixture(scope="module")
def values(prior, ids):
    return np.asarray(decode_prefixes(CONFIG, PARAMS, prior, ids))


def test_ids_are_of_both_kinds_and_in_range(ids):
    assert ids.dtype == np.int32
    assert ids.min() >= 0
    assert ids.max() < NUM_IDS
    escapes = ids >= CONFIG.num_regular
    assert 0 < escapes.mean() < 1


def test_the_batch_does_not_matter(z, prior, ids, values):
    for rows in (slice(3, 4), slice(0, 7)):
        found = encode(CONFIG, PARAMS, prior, z[rows], TOKENS)
        np.testing.assert_array_equal(found, ids[rows])
        alone = decode_prefixes(CONFIG, PARAMS, prior, ids[rows])
        np.testing.assert_array_equal(alone, values[:, rows])


def test_no_transformation_matters(z, prior, ids, values):
    mapped = jax.vmap(lambda row: shared.encode(CONFIG, PARAMS, prior, row[None], TOKENS)[0])(z)
    np.testing.assert_array_equal(mapped, ids)
    back = jax.vmap(lambda row: shared.decode(CONFIG, PARAMS, prior, row[None])[0])(
        jnp.asarray(ids)
    )
    np.testing.assert_array_equal(back, values[-1])


def test_eager_and_unoptimised_programs_agree(z, prior, ids, values):
    few = slice(0, 2)
    with jax.disable_jit():
        found = shared.encode(CONFIG, PARAMS, prior, z[few], TOKENS)
        back = shared.decode_prefixes(CONFIG, PARAMS, prior, jnp.asarray(ids[few]))
    np.testing.assert_array_equal(found, ids[few])
    np.testing.assert_array_equal(back, values[:, few])
    plain = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
    lowered = jax.jit(partial(shared.encode, CONFIG, num_tokens=TOKENS)).lower(PARAMS, prior, z)
    found = lowered.compile(compiler_options=plain)(PARAMS, prior, z)
    np.testing.assert_array_equal(found, ids)
    lowered = jax.jit(partial(shared.decode_prefixes, CONFIG)).lower(PARAMS, prior, ids)
    back = lowered.compile(compiler_options=plain)(PARAMS, prior, ids)
    np.testing.assert_array_equal(back, values)


def test_eight_devices_agree(z, prior, ids, values):
    placed = sharding.batch_sharding(sharding.make_mesh())
    found = encode(CONFIG, PARAMS, prior, jax.device_put(z, placed), TOKENS)
    np.testing.assert_array_equal(found, ids)
    back = decode_prefixes(CONFIG, PARAMS, prior, jax.device_put(ids, placed))
    np.testing.assert_array_equal(back, values)


def test_float_weights_and_frozen_ones_agree(z, prior):
    params = network.init(CONFIG, jax.random.key(3))
    floats = params._replace(w_out=0.03 * jax.random.normal(jax.random.key(4), (16, 16)))
    first = encode(CONFIG, floats, prior, z, TOKENS)
    np.testing.assert_array_equal(encode(CONFIG, network.frozen(floats), prior, z, TOKENS), first)


def test_every_prefix_is_what_its_ids_decode_to(prior, ids, values):
    for count in (0, 1, TOKENS):
        found = decode(CONFIG, PARAMS, prior, ids[:, :count])
        np.testing.assert_array_equal(found, values[count])


def test_an_encoding_is_the_prefix_of_a_longer_one(z, prior, ids):
    longer = encode(CONFIG, PARAMS, prior, z, TOKENS + 3)
    np.testing.assert_array_equal(longer[:, :TOKENS], ids)


@pytest.mark.parametrize("action_dim", [1, 2, 7, 32])
def test_more_tokens_leave_less_error(action_dim):
    z = coefficients(8, action_dim, seed=action_dim)
    prior, config = Prior.fit(z), CONFIG
    params = network.frozen(network.init(config, jax.random.key(0)))
    ids = encode(config, params, prior, z, 24)
    errors = np.square(np.asarray(decode_prefixes(config, params, prior, ids)) - z).mean((1, 2, 3))
    assert (np.diff(errors) <= 1e-9).all()
    assert errors[-1] < errors[0] * (0.3 if action_dim == 32 else 0.05)


@pytest.mark.parametrize(("action_dim", "horizon"), [(1, 4), (3, 8), (32, 5)])
def test_any_ids_decode_to_bounded_values(action_dim, horizon):
    rng = np.random.default_rng(action_dim)
    prior = Prior.fit(rng.normal(size=(9, horizon, action_dim)).astype(np.float32))
    ids = rng.integers(0, NUM_IDS, (256, 20)).astype(np.int32)
    values = np.asarray(decode_prefixes(CONFIG, PARAMS, prior, ids))
    assert values.shape == (21, 256, horizon, action_dim)
    assert values.dtype == np.float32
    assert (np.abs(values) <= network.LARGEST).all()


def test_ids_that_are_left_over_fold(prior):
    escapes = Escapes.of(CONFIG, 8, 5)
    first = np.arange(CONFIG.num_regular, NUM_IDS - escapes.count, dtype=np.int32)[:, None]
    assert len(first)
    np.testing.assert_array_equal(
        decode(CONFIG, PARAMS, prior, first + escapes.count), decode(CONFIG, PARAMS, prior, first)
    )


def test_the_network_does_not_care_for_the_order_of_dims(prior, z):
    order = np.array([3, 0, 4, 1, 2])
    start, _ = shared._start(CONFIG, prior, z.shape)
    target = jnp.swapaxes(jnp.asarray(z), 1, 2)
    seen = network.Belief(
        network.as_values(target), start.belief.steps - 7.0, jnp.round(jnp.abs(target) % 2)
    )
    turned, turned_seen = jax.tree.map(lambda leaf: leaf[:, order], (start, seen))
    refined = network.refine(CONFIG, PARAMS, start, seen, jnp.asarray(3))
    found = network.refine(CONFIG, PARAMS, turned, turned_seen, jnp.asarray(3))
    for whole, other in zip(refined, found, strict=True):
        np.testing.assert_array_equal(other, whole[:, order])


def test_the_order_of_dims_changes_errors_by_ties_only(z, prior, values):
    order = np.array([3, 0, 4, 1, 2])
    permuted = Prior(prior.mean[:, order], prior.deviation[:, order])
    other = encode(CONFIG, PARAMS, permuted, z[..., order], TOKENS)
    found = np.asarray(decode_prefixes(CONFIG, PARAMS, permuted, other))
    np.testing.assert_array_equal(found[0], values[0][..., order])
    first, second = (
        np.square(each - z).mean((1, 2, 3)) for each in (values, found[..., np.argsort(order)])
    )
    np.testing.assert_allclose(second, first, rtol=0.3)


def test_what_is_known_of_a_coefficient_follows_from_its_levels(prior):
    start, ids = shared._start(CONFIG, prior, (1, 8, 5))
    choice = moves.choose(CONFIG, ids, start.belief, start.present)
    half = np.asarray(moves.half_widths(CONFIG, choice))[:, 0]
    radices = 2 * half.astype(int) + 1
    places = np.concatenate([[1], np.cumprod(radices)[:-1]])
    middle, outer = (np.array([int(places @ levels)]) for levels in (half, radices - 1))
    for token, expected in ((middle, network.CELL), (outer, network.TAIL)):
        after = moves.moved(CONFIG, PARAMS, ids, start.belief, choice, jnp.asarray(token))
        refined = np.asarray(choice.chosen[half > 0]).any(axis=0)
        shape = np.asarray(after.shape)
        assert (shape[refined] == expected).all()
        assert (shape[~refined] == network.UNSEEN).all()
    inside = start.belief._replace(shape=jnp.full_like(start.belief.shape, network.CELL))
    chosen = moves.choose(CONFIG, ids, inside, start.present)
    after = moves.moved(CONFIG, PARAMS, ids, inside, chosen, jnp.asarray(outer))
    assert (np.asarray(after.shape) == network.CELL).all()


def test_a_shorter_chunk_uses_the_network_of_a_longer_one():
    z = coefficients(5, 3)
    prior, config = Prior.fit(z), CONFIG
    ids = encode(config, PARAMS, prior, z, 20)
    values = decode_prefixes(config, PARAMS, prior, ids)
    assert values.shape == (21, *z.shape)
    errors = np.square(np.asarray(values) - z).mean((1, 2, 3))
    assert errors[-1] < 0.2 * errors[0]


def test_absent_coefficients_stay_zero():
    prior = Prior.fit(coefficients(5, 3))
    start, layout = shared._start(CONFIG, prior, (8, 5, 3))
    belief = start.belief
    for token in np.random.default_rng(0).integers(0, NUM_IDS, (6, 8)).astype(np.int32):
        belief = network.refine(CONFIG, PARAMS, start, belief, jnp.asarray(0))
        choice = shared.moves.choose(CONFIG, layout, belief, start.present)
        belief = shared.moves.moved(CONFIG, PARAMS, layout, belief, choice, jnp.asarray(token))
        assert not np.asarray(belief.mean[..., 5:]).any()
    assert np.asarray(belief.mean[..., :5]).any()


@pytest.mark.parametrize(("horizon", "action_dim"), [(8, 6), (16, 6), (16, 32)])
def test_values_far_out_of_range_come_back_through_escapes(horizon, action_dim):
    config = dataclasses.replace(CONFIG, horizon=horizon)
    z = coefficients(horizon, action_dim)
    prior, params = Prior.fit(z), network.frozen(network.init(config, jax.random.key(0)))
    far = z.copy()
    far[:, 0, 2] = 10.0 * np.sqrt(horizon)
    ids = encode(config, params, prior, far, 64)
    error = np.abs(np.asarray(decode(config, params, prior, ids)) - far)[:, 0, 2]
    assert error.max() < 0.05 * far[0, 0, 2]


def test_every_coefficient_of_a_usual_robot_has_escapes():
    for horizon in HORIZONS:
        escapes = Escapes.of(SharedConfig(horizon=horizon), horizon, 7)
        assert escapes.coded == horizon * 7
        assert 1 <= escapes.magnitudes <= 24
    crowded = Escapes.of(SharedConfig(horizon=64), 64, 32)
    assert crowded.magnitudes == 1
    assert crowded.coded == (NUM_IDS - SharedConfig().num_regular) // 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SharedConfig(horizon=0), "horizon must be at least 1, got 0"),
        (lambda: SharedConfig(hidden_dim=999), "hidden_dim must be at most 256, got 999"),
        (lambda: SharedConfig(num_blocks=0), "num_blocks must be at least 1"),
        (lambda: SharedConfig(grids=()), "grids must be at least one"),
        (lambda: SharedConfig(grids=((4, 4),)), "odd numbers of levels from 3 to 63"),
        (lambda: SharedConfig(grids=((3, 5),)), "levels in descending order"),
        (lambda: SharedConfig(grids=((63, 63, 3),)), "of at most 4094 values each"),
    ],
)
def test_a_bad_config_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_chunks_that_do_not_fit_are_refused(z, prior):
    with pytest.raises(ValueError, match="T must be at most 8, got 9"):
        shared.encode(CONFIG, PARAMS, Prior.fit(coefficients(9, 2)), coefficients(9, 2), 2)
    with pytest.raises(ValueError, match=r"prior must be of shape \(8, 4\), got \(8, 5\)"):
        shared.encode(CONFIG, PARAMS, prior, z[..., :4], 2)
    with pytest.raises(ValueError, match="z must be at least one chunk"):
        Prior.fit(z[:0])


def test_a_saved_network_is_the_same(tmp_path, z, prior, ids):
    shared_files.save_folder(tmp_path / "net", CONFIG, PARAMS)
    config, params = shared_files.load_folder(tmp_path / "net")
    assert config == CONFIG
    np.testing.assert_array_equal(encode(config, params, prior, z, TOKENS), ids)


def test_a_file_of_other_sizes_or_types_is_refused(tmp_path):
    other = dataclasses.replace(CONFIG, hidden_dim=17)
    shared_files.save_folder(tmp_path / "sizes", other, PARAMS)
    with pytest.raises(ValueError, match="does not fit its config"):
        shared_files.load_folder(tmp_path / "sizes")
    floats = PARAMS._replace(w_in=PARAMS.w_in.astype(jnp.float32))
    shared_files.save_folder(tmp_path / "types", CONFIG, floats)
    with pytest.raises(ValueError, match="w_in must be int8, got 'float32'"):
        shared_files.load_folder(tmp_path / "types")


@pytest.mark.parametrize(
    ("horizon", "network_of"), [(4, 8), (8, 8), (10, 16), (16, 16), (20, 32), (48, 64)]
)
def test_bundled_networks_stay_stable_on_motion_they_never_saw(horizon, network_of):
    config, params = shared_files.load_shared(horizon)
    assert config.horizon == network_of
    z = coefficients(horizon, 12, chunks=24, seed=7)
    prior = Prior.fit(z)
    values = decode_prefixes(config, params, prior, encode(config, params, prior, z, 60))
    errors = np.square(np.asarray(values) - z).mean((1, 2, 3))
    # Below the least deviation, nothing is promised.
    floor = 2.0 ** (2 * network.LEAST_STEPS / network.OCTAVE)
    assert (errors[1:] <= np.maximum(1.02 * errors[:-1], floor)).all()
    assert errors[-1] < 0.05 * errors[0]


def test_no_network_is_for_longer_chunks(unchecked_types):
    with pytest.raises(ValueError, match="horizon must be 1 to 64, got 65"):
        shared_files.load_shared(65)
    with pytest.raises(TypeError, match="horizon must be an integer"):
        shared_files.load_shared("8")
