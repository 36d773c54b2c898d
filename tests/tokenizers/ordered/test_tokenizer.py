"""Ordered tokens: every sequence and every prefix decodes, for any robot, in any batch."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from rfsq_jax import ActionTokenizer
from rfsq_jax.data.action_range import OutOfRangeWarning
from rfsq_jax.data.action_spec import LIBERO
from rfsq_jax.tokenizers.ordered.round_trip import RoundTripWarning
from rfsq_jax.tokenizers.ordered.tokenizer import OrderedTokenizer
from tests.support.ordered import motion, spec_of, tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::rfsq_jax.data.action_range.OutOfRangeWarning")

ROBOTS = {
    "2 dims": (spec_of(2, 0), 4),
    "14 dims, 2 grippers": (spec_of(12, 2), 8),
    "32 dims": (spec_of(31, 1), 8),
    "no gripper, 10 steps": (spec_of(7, 0), 10),
}


def clipped(ordered: OrderedTokenizer, chunks: np.ndarray) -> np.ndarray:
    """Within the fitted range."""
    assert ordered.space.range is not None
    return ordered.space.range.clip(chunks).astype(np.float32)


@pytest.fixture(params=["both paths", "shared path"], scope="module")
def ordered(request) -> OrderedTokenizer:
    return tokenizer(dense=request.param == "both paths")


@pytest.fixture(scope="module")
def chunks():
    return clipped(tokenizer(dense=False), motion(LIBERO, 8, 200, seed=1))


def test_ids_are_few_and_the_first_is_the_grippers(ordered, chunks):
    ids = ordered.encode(chunks)
    assert ids.shape == (200, 6)
    assert ids.dtype == np.int32
    assert ids.min() >= 0
    assert (ids < np.array(ordered.sizes)).all() or ordered.dense is not None
    assert ordered.vocab_size <= 4096
    assert ordered.prefix_lengths == (0, 1, 2, 3, 4, 5, 6)
    assert (
        ordered.prefix_bits[-1]
        == ordered.bits_per_chunk
        == pytest.approx(np.log2(ordered.sizes).sum())
    )
    decoded = ordered.decode(ids)
    np.testing.assert_array_equal(decoded[..., 6], chunks[..., 6])
    assert decoded.dtype == np.float32


def test_longer_prefixes_err_less(ordered, chunks):
    ids = ordered.encode(chunks)
    errors = [
        np.square(ordered.decode(ids, num_tokens=n) - chunks)[..., :6].mean() for n in range(1, 7)
    ]
    assert (np.diff(errors) < 0).all()
    assert errors[-1] < 0.05 * errors[0]


def test_prefixes_decode_alike_however_they_are_given(ordered, chunks):
    ids = ordered.encode(chunks)
    together = ordered.decode_prefixes(ids)
    for length in range(1, 7):
        cut = ordered.decode(ids[:, :length])
        np.testing.assert_array_equal(cut, ordered.decode(ids, num_tokens=length))
        np.testing.assert_array_equal(cut, ordered.decode_prefix(ids, length))
        np.testing.assert_array_equal(cut, together[:, length - 1])
        np.testing.assert_array_equal(cut, ordered.decode(ids[:, :length].tolist()))
    np.testing.assert_array_equal(ordered.decode(ids[3]), ordered.decode(ids)[3])


def test_lists_of_several_lengths_decode_as_each_alone(ordered, chunks):
    lists = [row[: index % 7].tolist() for index, row in enumerate(ordered.encode(chunks[:20]))]
    decoded = ordered.decode(lists)
    for row, ids in zip(decoded, lists, strict=True):
        np.testing.assert_array_equal(row, ordered.decode(np.array([ids], np.int64))[0])


def test_chunks_alone_and_in_batches_have_the_same_ids_and_actions(ordered, chunks):
    ids = ordered.encode(chunks)
    decoded = ordered.decode(ids)
    for count in (1, 3, 130):
        np.testing.assert_array_equal(ordered.encode(chunks[:count]), ids[:count])
        np.testing.assert_array_equal(ordered.decode(ids[:count]), decoded[:count])
    np.testing.assert_array_equal(ordered.encode(chunks[5]), ids[5])


def test_ten_thousand_random_sequences_and_their_prefixes_decode_within_bounds(ordered):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, ordered.vocab_size, (10_000, ordered.tokens_per_chunk))
    low, high = ordered.space.range.low, ordered.space.range.high
    margin = np.maximum(high - low, np.maximum(np.abs(low), np.abs(high))) * 1.001
    for start in range(0, len(ids), 2500):
        actions = ordered.decode_prefixes(ids[start : start + 2500])
        assert np.isfinite(actions).all()
        assert (actions >= low - margin).all()
        assert (actions <= high + margin).all()
    assert np.isfinite(ordered.decode(ids, num_tokens=0)).all()


def test_a_tolerance_cuts_each_chunk_at_its_shortest_prefix(ordered, chunks):
    within = np.array([0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RoundTripWarning)
        lists = ordered(chunks, tolerance=within)
    whole = ordered.encode(chunks)
    assert len({len(ids) for ids in lists}) > 1
    for chunk, ids, row in zip(chunks, lists, whole, strict=True):
        assert ids == row[: len(ids)].tolist()
        errors = [np.abs(ordered.decode(row, num_tokens=n) - chunk) for n in range(1, 7)]
        fits = [bool((error <= within).all()) for error in errors]
        assert len(ids) == (fits.index(True) + 1 if any(fits) else 6)


def test_a_tolerance_out_of_reach_is_said_or_refused(ordered, chunks):
    with pytest.warns(RoundTripWarning, match="within tolerance, got 200 of 200"):
        assert {len(ids) for ids in ordered(chunks, tolerance=1e-6)} == {6}
    with pytest.raises(ValueError, match="within tolerance"):
        ordered(chunks, "raise", tolerance=1e-6)
    with pytest.raises(ValueError, match="tolerance must be one number above 0, or 7"):
        ordered(chunks, tolerance=[0.1, 0.2])
    with pytest.raises(ValueError, match="tolerance must be"):
        ordered(chunks, tolerance=0.0)


def test_chunks_unlike_the_fitted_ones_take_the_shared_path_and_are_reported():
    ordered = tokenizer()
    strange = 3 * np.random.default_rng(0).normal(size=(50, 8, 7)).astype(np.float32)
    strange[..., 6] = 1.0
    assert ordered.dense is not None
    with pytest.warns(RoundTripWarning, match="normalised units"):
        ids = ordered.encode(strange)
    words = ordered.sizes[0] // 2
    assert (ids[:, 0] >= words).any()
    parts = np.square(ordered.decode(ids) - strange)[..., :6].mean()
    only = ids.copy()
    only[:, 0] %= words
    assert parts < np.square(ordered.decode(only) - strange)[..., :6].mean()
    with pytest.raises(ValueError, match="must decode to within"):
        ordered.encode(clipped(ordered, strange), check="raise")


def test_actions_twice_as_large_come_back_or_are_reported(chunks):
    ordered = tokenizer()
    large = chunks.copy()
    large[..., :6] *= 2
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ids = ordered.encode(large)
    error = np.abs(ordered.decode(ids) - large).max(axis=(1, 2))
    width = (ordered.normalization.high - ordered.normalization.low).max() / 2
    reported = any(issubclass(each.category, RoundTripWarning) for each in said)
    assert reported or error.max() <= ordered.config.largest_error * width


def test_a_wider_search_does_not_err_more(chunks):
    ordered = tokenizer()
    errors = [
        np.square(ordered.decode(ordered.encode(chunks, beam=beam)) - chunks).mean()
        for beam in (1, 4)
    ]
    assert errors[1] < errors[0]
    with pytest.raises(ValueError, match="beam must be at least 1"):
        ordered.encode(chunks, beam=0)


@pytest.mark.parametrize("name", ROBOTS)
def test_any_robot(name):
    spec, horizon = ROBOTS[name]
    fitted = tokenizer(True, spec, horizon)
    chunks = motion(spec, horizon, 100, seed=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RoundTripWarning)
        ids = fitted.encode(chunks)
    headers = max(1, len(spec.slices("gripper")))
    assert ids.shape == (100, 5 + headers)
    decoded = fitted.decode(ids)
    for _, place in spec.slices("gripper"):
        np.testing.assert_array_equal(decoded[..., place], chunks[..., place])
    assert np.square(decoded - chunks).mean() < 0.5 * chunks.var()
    rng = np.random.default_rng(0)
    random = rng.integers(0, fitted.vocab_size, (100, ids.shape[1]))
    assert np.isfinite(fitted.decode(random)).all()


def test_a_gripper_that_stops_between_its_commands_moves_like_any_dim(tmp_path):
    chunks = motion(LIBERO, 8, 200)
    rng = np.random.default_rng(0)
    chunks[..., 6] *= rng.uniform(0.2, 1.0, (200, 1)).astype(np.float32)
    fitted = ActionTokenizer.fit(chunks, kind="ordered", num_tokens=12, dense=False)
    assert isinstance(fitted, OrderedTokenizer)
    assert fitted.config.moving_grippers == (6,)
    assert fitted.config.switches == ()
    ids = fitted.encode(chunks)
    assert np.abs(fitted.decode(ids) - chunks)[..., 6].mean() < 0.05
    fitted.save_pretrained(tmp_path / "ordered")
    loaded = ActionTokenizer.from_pretrained(tmp_path / "ordered")
    np.testing.assert_array_equal(loaded.decode(ids), fitted.decode(ids))


def test_it_saves_and_loads_to_the_same_ids_and_bits(ordered, chunks, tmp_path):
    ordered.save_pretrained(tmp_path / "ordered")
    loaded = ActionTokenizer.from_pretrained(tmp_path / "ordered")
    assert isinstance(loaded, OrderedTokenizer)
    assert loaded.version == ordered.version
    ids = ordered.encode(chunks)
    np.testing.assert_array_equal(loaded.encode(chunks), ids)
    np.testing.assert_array_equal(loaded.decode(ids), ordered.decode(ids))
    assert loaded.config == ordered.config


def test_a_file_whose_sizes_do_not_fit_is_refused_by_name(tmp_path):
    ordered = tokenizer()
    config = json.loads(json.dumps(ordered.config_dict()))
    arrays = ordered.arrays()
    cases = {
        "num_layers": config | {"num_tokens": 4},
        "usual": config | {"usual": [500]},
        "switches": config | {"switches": []},
        "moving_grippers": config | {"moving_grippers": [0]},
        "conditioning": config | {"dense": config["dense"] | {"conditioning": "none"}},
        "largest_error": config | {"largest_error": 0.0},
        "does not fit": config | {"shared": config["shared"] | {"hidden_dim": 3}},
    }
    for message, changed in cases.items():
        with pytest.raises(ValueError, match=message):
            OrderedTokenizer.from_parts(ordered.space, changed, arrays)


def test_bad_ids_are_refused_by_name(ordered):
    with pytest.raises(ValueError, match=r"tokens must be in \[0, 4096\)"):
        ordered.decode(np.array([[0, 4096]]))
    with pytest.raises(ValueError, match="tokens must be of shape"):
        ordered.decode(np.zeros((2, 7), int))
    with pytest.raises(TypeError, match="integers"):
        ordered.decode(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="length must be one of"):
        ordered.decode(np.zeros((2, 6), int), num_tokens=7)


def test_out_of_range_actions_are_said_as_in_every_kind(ordered, chunks):
    with pytest.raises(ValueError, match="range that was fitted"):
        ordered.encode(chunks * 50, check="raise")
    assert issubclass(OutOfRangeWarning, UserWarning)
