"""Training heads: what is learned, resume, and the figures that are printed."""

import dataclasses

import jax
import numpy as np
import pytest

from rfsq_jax.data.action_spec import LIBERO
from rfsq_jax.features.store import FeatureStore
from rfsq_jax.heads import network, proprio
from rfsq_jax.heads.config import CodeShape, HeadsConfig, TrunkConfig
from rfsq_jax.heads.network import HeadsShape
from rfsq_jax.parallel import sharding
from rfsq_jax.tokenizers.step import ActionTokenizer
from rfsq_jax.training.checkpoints import Checkpoints
from rfsq_jax.training.heads import evaluation, report
from rfsq_jax.training.heads import training as trainer
from rfsq_jax.training.heads.data import HeadsData
from rfsq_jax.training.heads.objective import HeadsLoss
from rfsq_jax.training.heads.training import HeadsTraining
from rfsq_jax.training.loop import LoopConfig
from rfsq_jax.training.state import OptimizerConfig
from tests.support.feature_store import SPEC, make_store
from tests.support.tokenizers import untrained_tokenizer

# The chunks are of another suite than the bundled tokenizer was fitted on.
pytestmark = pytest.mark.filterwarnings("ignore::rfsq_jax.data.action_range.OutOfRangeWarning")

SMALL = TrunkConfig(width=32, num_heads=2, num_blocks=1)
TRAINING = HeadsTraining(
    model=HeadsConfig(main=SMALL, draft=SMALL),
    loss=HeadsLoss((1.0,) * 8, fine_dropout=0.1, feature_dropout=0.1, state_noise=0.0),
    optimizer=OptimizerConfig(learning_rate=1e-2, weight_decay=0.0, clip_norm=1.0),
    loop=LoopConfig(steps=500, steps_per_call=50, evaluate_every=250),
    batch_size=16,
    ema=0.9,
)

REGULARISED = dataclasses.replace(
    TRAINING,
    loss=HeadsLoss((4.0, 2.0, 1.0, 0.5), smoothing=0.1, perturbation=0.2, balance=0.5),
)


@pytest.fixture(scope="module")
def tokenizer():
    return ActionTokenizer.from_pretrained("libero")


@pytest.fixture(scope="module")
def store(tokenizer, chunks, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("features"), tokenizer, chunks[::37][:8], 160, 32)


@pytest.fixture(scope="module")
def few_codes(chunks):
    """A tokenizer for what does not depend on its codes, and features for it."""
    return untrained_tokenizer(chunks)


@pytest.fixture(scope="module")
def few_codes_store(few_codes, chunks, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("few_codes"), few_codes, chunks[::37][:8], 160, 32)


def parts(training, store, tokenizer):
    predicts_tokens = training.model.kind == "tokens"
    taught = tokenizer if predicts_tokens else None
    codes = CodeShape.of(tokenizer) if predicts_tokens else None
    shape = HeadsShape.of(SPEC, tokenizer.space, codes)
    data = {
        split: HeadsData.of(store, split, tokenizer.space, taught, training.model)
        for split in ("train", "held_out")
    }
    statistics = proprio.fit(store.state[data["train"].rows])
    predict = evaluation.make_predict(training.model, shape, statistics, taught)
    return shape, statistics, data, predict


def run(training, store, tokenizer, checkpoints=None, devices=1):
    shape, statistics, data, predict = parts(training, store, tokenizer)
    mesh = sharding.make_mesh(devices=jax.devices()[:devices])
    evaluate = evaluation.make_evaluate(
        predict, data["held_out"], training.model.point_estimate, mesh
    )
    params = trainer.train(
        training,
        shape,
        statistics,
        data["train"].feed(training),
        evaluate,
        mesh=mesh,
        checkpoints=checkpoints,
    )
    everything = evaluation.predict_all(predict, params, data["held_out"])
    return params, evaluation.measure(everything, data["held_out"], data["train"], tokenizer.space)


def variant(**changes):
    return dataclasses.replace(TRAINING, **changes)


@pytest.fixture(scope="module")
def sighted(store, tokenizer):
    return run(TRAINING, store, tokenizer)[1]


def test_token_heads_learn_every_layer_and_the_tables_say_so(sighted, tmp_path):
    figures = sighted
    accuracy = figures["accuracy"]
    majority = np.array(accuracy["majority_level_of_dim"])
    assert (majority >= np.array(accuracy["majority_level"]) - 0.05).all()
    assert (np.array(accuracy["main"]) > 0.95).all()
    assert (np.array(accuracy["draft"]) > 0.95).all()
    assert len(figures["agreement"]["per_step"]) == 8
    assert figures["actions"]["mode"]["l1"] < 0.1
    table = report.accuracy_table({"robust": figures})
    assert "L7" in table
    assert "majority level" in table
    assert "the reference expected 92-93 %" in report.reference_note(figures)
    assert "gripper F1" in report.action_table({"robust": figures})
    report.plot(tmp_path / "heads.png", "robust", figures)
    assert (tmp_path / "heads.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["bins", "regression"])
def test_the_heads_to_be_beaten_learn_too(kind, store, tokenizer):
    training = variant(model=HeadsConfig(kind=kind, main=SMALL, draft=None))
    _, figures = run(training, store, tokenizer)
    assert figures["actions"]["mean"]["l1"] < 0.1
    assert figures["actions"]["mode"]["gripper_f1"] > 0.95


@pytest.fixture(scope="module")
def regularised(few_codes_store, few_codes):
    return run(REGULARISED, few_codes_store, few_codes)[1]


def test_options_of_the_loss_still_learn(regularised):
    assert regularised["accuracy"]["main"][0] > 0.9


def test_a_blind_head_learns_nothing_that_only_pictures_show(
    regularised, few_codes_store, few_codes
):
    blind = dataclasses.replace(SMALL, blind=True)
    training = dataclasses.replace(REGULARISED, model=HeadsConfig(main=blind, draft=blind))
    _, figures = run(training, few_codes_store, few_codes)
    assert figures["accuracy"]["main"][0] < regularised["accuracy"]["main"][0] - 0.1


def test_a_stopped_run_goes_on_as_if_it_had_not(few_codes_store, few_codes, tmp_path):
    store, tokenizer = few_codes_store, few_codes
    loop = LoopConfig(steps=40, steps_per_call=10, evaluate_every=20)
    training = dataclasses.replace(REGULARISED, loop=loop)
    whole, _ = run(training, store, tokenizer, devices=8)

    class StoppedError(Exception):
        pass

    class StopsAfterSaving(Checkpoints):
        def save(self, step, state, metrics):
            super().save(step, state, metrics)
            raise StoppedError

    with (
        pytest.raises(StoppedError),
        StopsAfterSaving(tmp_path / "a", trainer.BEST_METRIC) as checkpoints,
    ):
        run(training, store, tokenizer, checkpoints, devices=8)
    with Checkpoints(tmp_path / "a", trainer.BEST_METRIC) as checkpoints:
        assert checkpoints.latest_step == 20
        run(training, store, tokenizer, checkpoints, devices=8)
        shape = parts(training, store, tokenizer)[0]
        fresh = trainer.initial_state(
            training, network.init(training.model, shape, jax.random.key(0))
        )
        like = sharding.place(fresh, sharding.make_mesh(), sharding.REPLICATED)
        resumed = checkpoints.restore(40, like).ema_params
    jax.tree.map(np.testing.assert_array_equal, whole, jax.device_get(resumed))


def test_an_empty_split_is_refused(tokenizer, unchecked_types):
    class Nothing(FeatureStore):
        def __init__(self):
            pass

        def rows(self, split):
            return np.empty(0, np.int64)

    with pytest.raises(ValueError, match="no held_out frames"):
        HeadsData.of(Nothing(), "held_out", tokenizer.space, tokenizer, TRAINING.model)


def test_every_layer_needs_a_weight(store, tokenizer):
    with pytest.raises(ValueError, match="layer_weights must be 8, one per layer"):
        run(variant(loss=HeadsLoss(layer_weights=(1.0, 1.0))), store, tokenizer)


def test_gripper_f1_counts_closing_steps():
    truth = np.full((1, 4, 7), -1.0)
    truth[0, 2:, -1] = 1.0
    assert evaluation.gripper_f1(truth, truth, LIBERO) == 1.0
    said = truth.copy()
    said[0, 1, -1] = 1.0
    assert evaluation.gripper_f1(said, truth, LIBERO) == pytest.approx(0.8)
    assert evaluation.gripper_f1(-np.ones((1, 4, 7)), truth, LIBERO) == 0.0
    nothing = np.full((1, 4, 7), -1.0)
    assert evaluation.gripper_f1(nothing, nothing, LIBERO) == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HeadsLoss(smoothing=1.5), "smoothing must be in"),
        (lambda: HeadsLoss(balance=-1.0), "balance must be 0 or more"),
        (lambda: HeadsLoss(layer_weights=(1.0, 0.0)), "layer_weights must be above 0"),
        (lambda: HeadsTraining(ema=1.0), "ema must be in"),
        (lambda: HeadsTraining(batch_size=0), "batch_size must be at least 1"),
    ],
)
def test_configs_validate_themselves(make, message):
    with pytest.raises(ValueError, match=message):
        make()
