"""Work that is not needed is not done, and thresholds are the best that the bound allows."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfsq_jax import rfsq
from rfsq_jax.backbones.protocol import Backbone, BackboneSpec
from rfsq_jax.heads import early_exit as exits
from rfsq_jax.heads.config import PointEstimate
from rfsq_jax.heads.prediction import Predictor, confidence, of_draft, of_logits
from rfsq_jax.rfsq import RFSQConfig, RFSQState
from rfsq_jax.tokenizers import autoencoder
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.tokenizers.step import StepDecoder
from tests.support.heads import CODES, SHAPE, features, heads, states

pytestmark = pytest.mark.numerics

BATCH = 5
MODEL = AutoencoderConfig(rfsq=RFSQConfig(dim=CODES.dim, num_layers=CODES.num_layers))


@functools.cache
def decoder() -> StepDecoder:
    with jax.ensure_compile_time_eval():
        params, state = autoencoder.init(MODEL, jax.random.key(0))
        mean = 0.3 * jax.random.normal(jax.random.key(1), state.mean.shape)
        return StepDecoder(MODEL, params, RFSQState(mean, state.scale))


class CountingBackbone(Backbone):
    """Stored features as inputs; counts the rows that its late part was called with."""

    def __init__(self):
        depths = {"early": SHAPE.early, "final": SHAPE.final}
        super().__init__(BackboneSpec("stored", "0", 0, 0, "none", depths))
        self.params = {}
        self.rows: list[int] = []

    def prepare(self, observations):
        raise NotImplementedError

    def early(self, params, inputs):
        return inputs["early"], inputs["final"]

    def late(self, params, carry):
        jax.debug.callback(lambda: self.rows.append(len(carry)))
        return carry


def predictor(point_estimate: PointEstimate) -> Predictor:
    return Predictor(heads(), "tokens", decoder(), point_estimate)


@functools.cache
def program(point_estimate: PointEstimate, block: int):
    """The decision as one program, and the backbone that counts for it."""
    backbone = CountingBackbone()

    @jax.jit
    def act(inputs, state, threshold):
        heads = predictor(point_estimate)
        return exits.early_exit(backbone, heads, {}, inputs, state, threshold, block)

    return act, backbone.rows


def run(threshold: float, point_estimate: PointEstimate = "mode", block: int = 2):
    act, rows = program(point_estimate, block)
    rows.clear()
    result = act(inputs(), states(BATCH), threshold)
    jax.effects_barrier()
    return result, list(rows)


def inputs() -> dict[str, np.ndarray]:
    return {"early": features(SHAPE.early, BATCH), "final": features(SHAPE.final, BATCH)}


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.integers(1, 12))
def test_only_rows_that_need_it_are_run_in_as_few_blocks_as_can_be(mask, block):
    needed = np.array(mask)
    values = np.arange(3.0 * len(mask), dtype=np.float32).reshape(-1, 3)
    carry = {"x": values, "y": -values[:, 0]}
    default = (np.full_like(values, 99.0), np.full(len(mask), -1.0, np.float32))
    calls = []

    def function(rows):
        jax.debug.callback(lambda: calls.append(1))
        return rows["x"] ** 2, rows["y"] + 1

    where = jax.jit(lambda *args: exits.run_where(args[0], function, args[1], args[2], block))
    found = where(jnp.asarray(needed), carry, default)
    jax.effects_barrier()
    np.testing.assert_array_equal(found[0], np.where(needed[:, None], values**2, 99.0))
    np.testing.assert_array_equal(found[1], np.where(needed, 1 - values[:, 0], -1.0))
    assert len(calls) == math.ceil(needed.sum() / min(block, len(mask)))


@pytest.mark.parametrize("size", [1, 4])
def test_a_compiler_does_not_move_the_work_out_of_the_loop(size):
    weights = jnp.ones((64, 64))

    def work(x):
        return jnp.tanh(x @ weights) @ weights

    where = jax.jit(lambda needed, x: exits.run_where(needed, work, x, x, 1))
    text = where.lower(jnp.zeros(size, bool), jnp.ones((size, 64))).compile().as_text() or ""
    entry = text[text.index("ENTRY") :]
    assert "while(" in entry
    assert " dot(" in text
    assert " dot(" not in entry


def test_a_block_without_rows_is_refused():
    with pytest.raises(ValueError, match="block must be at least 1, got 0"):
        exits.run_where(jnp.array([True]), lambda x: x, jnp.ones(1), jnp.ones(1), 0)


@pytest.mark.parametrize("point_estimate", ["mode", "mean"])
def test_a_threshold_above_everything_is_the_main_head(point_estimate):
    result, rows = run(exits.NEVER, point_estimate)
    main = predictor(point_estimate).main(inputs()["final"], states(BATCH))
    expected = main.mean if point_estimate == "mean" else main.mode
    np.testing.assert_allclose(result.actions, expected, rtol=1e-5, atol=1e-5)
    assert not result.exited.any()
    assert rows == [2, 2, 2]


@pytest.mark.parametrize("point_estimate", ["mode", "mean"])
def test_a_threshold_below_everything_is_the_draft_and_the_late_part_rests(point_estimate):
    result, rows = run(-math.inf, point_estimate)
    logits = heads().draft(inputs()["early"], states(BATCH))
    expected = of_draft(decoder(), logits).actions(point_estimate)
    np.testing.assert_allclose(result.actions, expected, rtol=1e-5, atol=1e-6)
    assert result.exited.all()
    assert rows == []


def test_confident_samples_exit_and_the_others_stay():
    (draft, *_), (main, *_) = run(-math.inf), run(math.inf)
    (_, _, sure), _ = run(math.inf)
    threshold = float(np.median(sure))
    (actions, exited, _), rows = run(threshold, block=1)
    np.testing.assert_array_equal(exited, np.asarray(sure) >= threshold)
    assert rows == [1] * int((~exited).sum())
    expected = np.where(exited[:, None, None], draft.actions, main.actions)
    np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-5)


def test_confidence_is_the_spread_of_sampled_latents():
    logits = 2 * jax.random.normal(jax.random.key(3), (2, 4, CODES.dim, CODES.coarse, 7))
    sampled = jax.random.categorical(jax.random.key(4), logits, shape=(5000, *logits.shape[:-1]))
    latents = rfsq.decode(MODEL.rfsq, decoder().state, sampled)
    spread = np.asarray(latents).std(axis=0).mean(axis=(1, 2))
    np.testing.assert_allclose(confidence(decoder(), logits), -spread, rtol=0.03)


def test_a_certain_draft_has_confidence_zero():
    logits = 50.0 * jax.nn.one_hot(jnp.full((1, 4, CODES.dim, CODES.coarse), 6), 7)
    np.testing.assert_allclose(confidence(decoder(), logits), 0.0, atol=1e-6)


@pytest.mark.parametrize("point_estimate", ["mode", "mean"])
def test_the_expected_residual_is_the_next_layers_mean(point_estimate):
    logits = heads().draft(inputs()["early"], states(BATCH))
    prefix = dataclasses.replace(MODEL.rfsq, num_layers=CODES.coarse)
    mean, scale = decoder().state
    moved = dataclasses.replace(
        decoder(),
        config=dataclasses.replace(MODEL, rfsq=prefix),
        state=RFSQState(mean.at[0].add(mean[CODES.coarse]), scale),
    )
    expected = of_logits(moved, logits).actions(point_estimate)
    found = of_draft(decoder(), logits).actions(point_estimate)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


frames = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        *(
            st.lists(st.integers(0, top), min_size=n, max_size=n).map(
                lambda v: np.asarray(v, np.float32)
            )
            for top in (6, 9, 9)
        )
    )
)


@given(frames, st.sampled_from([0.0, 0.03, 0.5]))
def test_the_threshold_lets_as_many_exit_as_the_bound_allows(frames, max_excess):
    confidence, draft, main = frames
    found = exits.calibrate_threshold(confidence, draft, main, max_excess)
    shares = {exits.NEVER: 0.0}
    for threshold in np.unique(confidence):
        error = np.where(confidence >= threshold, draft, main).mean()
        if error <= (1 + max_excess) * main.mean() + 1e-6:
            shares[float(threshold)] = float((confidence >= threshold).mean())
    assert float((confidence >= found).mean()) == max(shares.values())
    assert found in shares


@pytest.mark.parametrize("values", [[], [0.0, math.nan]])
def test_calibration_refuses_what_it_cannot_use(values):
    errors = np.ones(len(values), np.float32)
    with pytest.raises(ValueError, match="confidence must be finite, of at least 1 frame"):
        exits.calibrate_threshold(np.array(values, np.float32), errors, errors)


def test_the_curve_runs_from_the_main_head_to_the_draft():
    confidence = np.array([0.0, 1.0, 2.0, 3.0], np.float32)
    draft, main = np.full(4, 3.0, np.float32), np.full(4, 2.0, np.float32)
    flops, seconds = exits.Cost(100.0, 40.0, 110.0), exits.Cost(1.0, 0.5, 1.25)
    points = exits.curve(confidence, draft, main, [math.inf, 2.0, -math.inf], flops, seconds)
    assert dataclasses.astuple(points[0]) == (math.inf, 0.0, 1.1, 1.25, 1.0)
    assert dataclasses.astuple(points[1]) == pytest.approx((2.0, 0.5, 0.75, 0.875, 1.25))
    assert dataclasses.astuple(points[2]) == (-math.inf, 1.0, 0.4, 0.5, 1.5)
