"""A taught draft agrees with its main head, which stays as it was."""

import dataclasses

import jax
import numpy as np
import pytest

from rfsq_jax.heads import network, proprio
from rfsq_jax.heads.config import HeadsConfig, TrunkConfig
from rfsq_jax.parallel import sharding
from rfsq_jax.policies.parts import PolicyParts
from rfsq_jax.training.feeding import Feed
from rfsq_jax.training.heads.data import HeadsData
from rfsq_jax.training.heads.distillation import DraftTraining, distill, make_objective
from rfsq_jax.training.loop import LoopConfig
from rfsq_jax.training.state import OptimizerConfig
from tests.support.feature_store import SPEC, make_store
from tests.support.policies import untrained_parts
from tests.support.tokenizers import untrained_tokenizer

SMALL = TrunkConfig(width=32, num_heads=2, num_blocks=1)
TRAINING = DraftTraining(
    feature_dropout=0.0,
    state_noise=0.0,
    optimizer=OptimizerConfig(learning_rate=1e-2, weight_decay=0.0, clip_norm=1.0),
    loop=LoopConfig(steps=300, steps_per_call=20, evaluate_every=300),
    batch_size=16,
    ema=0.9,
)


@pytest.fixture(scope="module")
def tokenizer(chunks):
    return untrained_tokenizer(chunks)


@pytest.fixture(scope="module")
def data(tokenizer, chunks, tmp_path_factory):
    store = make_store(tmp_path_factory.mktemp("features"), tokenizer, chunks[::37][:4], 96, 16)
    return HeadsData.of(
        store, "train", tokenizer.space, tokenizer, HeadsConfig(main=SMALL, draft=SMALL)
    )


@pytest.fixture(scope="module")
def parts(data, tokenizer):
    config = HeadsConfig(main=SMALL, draft=SMALL)
    parts = untrained_parts(SPEC, config, tokenizer, data.store.state, seed=0)
    # Louder logits: an untrained head says almost the same of every frame.
    out = parts.params["main"]["coarse_out"]
    out["kernel"] = 5 * out["kernel"]
    return parts


def agreement(parts: PolicyParts, params: network.Params, data: HeadsData) -> float:
    batch = data.read(np.arange(len(data)))

    @jax.jit
    def same(params: network.Params) -> jax.Array:
        heads = network.bind(parts.config, parts.shape, params)
        state = proprio.normalize(parts.statistics, batch.state)
        main = heads.main.coarse(heads.main.hidden(batch.final, state)).argmax(axis=-1)
        return (main == heads.draft(batch.early, state).argmax(axis=-1)).mean()

    return float(same(params))


def test_a_taught_draft_agrees_with_the_main_head_which_stays(parts, data):
    feed = Feed(data.read, len(data), TRAINING.batch_size, TRAINING.loop.steps_per_call, 0)
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    params = distill(TRAINING, parts, feed, lambda params: {"loss": 0.0}, mesh=mesh)
    jax.tree.map(np.testing.assert_array_equal, params["main"], parts.params["main"])
    assert agreement(parts, parts.params, data) < 0.4
    assert agreement(parts, params, data) > 0.6


def test_nothing_is_left_to_learn_where_the_draft_says_what_the_main_head_says(parts, data):
    """The gradient at the draft's output is the difference of both distributions."""
    batch = data.read(np.arange(8))
    params = jax.tree.map(np.zeros_like, parts.params)
    silent = dataclasses.replace(parts, params=params)
    objective = jax.jit(jax.value_and_grad(make_objective(TRAINING, silent)))
    loss, gradient = objective(params["draft"], batch, jax.random.key(0))
    np.testing.assert_allclose(loss, np.log(7), rtol=1e-5)
    for leaf in jax.tree.leaves(gradient):
        np.testing.assert_allclose(leaf, 0.0, atol=1e-6)


@pytest.mark.parametrize(
    ("training", "draft", "message"),
    [
        (dataclasses.replace(TRAINING, layer_weights=(1.0,)), SMALL, "layer_weights must be 3"),
        (TRAINING, None, "policy must be one with a draft"),
    ],
)
def test_what_cannot_be_taught_is_refused(training, draft, message, parts, data):
    config = dataclasses.replace(parts.config, draft=draft)
    feed = Feed(data.read, len(data), 16, 20, 0)
    with pytest.raises(ValueError, match=message):
        distill(training, dataclasses.replace(parts, config=config), feed, lambda params: {})


@pytest.mark.parametrize(
    ("field", "value"),
    [("layer_weights", (1.0, 0.0, 1.0)), ("feature_dropout", 1.0), ("ema", 1.0), ("batch_size", 0)],
)
def test_options_out_of_range_are_named(field, value):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(TRAINING, **{field: value})
