"""A new kind of tokenizer is one file and one line: heads train on it, and a policy plays it."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rfsq_jax import ActionTokenizer, tokenizers
from rfsq_jax.heads import proprio
from rfsq_jax.heads.config import CodeShape, HeadsConfig, TrunkConfig
from rfsq_jax.heads.network import HeadsShape
from rfsq_jax.parallel import sharding
from rfsq_jax.policies import Observations
from rfsq_jax.policies.parts import PolicyParts
from rfsq_jax.policies.token_policy import TokenPolicy
from rfsq_jax.tokenizers.ids import check_ids
from rfsq_jax.training.heads import evaluation
from rfsq_jax.training.heads import training as trainer
from rfsq_jax.training.heads.data import HeadsData
from rfsq_jax.training.heads.objective import HeadsLoss
from rfsq_jax.training.heads.training import HeadsTraining
from rfsq_jax.training.loop import LoopConfig
from tests.support.fakes import SPEC, Patches
from tests.support.feature_store import make_store

LEVELS = 9


class DigitsTokenizer(ActionTokenizer):
    """Two digits of every normalised value, of base 9: a coarse one and a fine one."""

    kind = "digits"

    @classmethod
    def fit_chunks(cls, space, chunks, **options):
        return cls(space)

    @classmethod
    def from_parts(cls, space, config, arrays):
        return cls(space)

    def config_dict(self):
        return {}

    def arrays(self):
        return {}

    @property
    def vocab_size(self):
        return LEVELS

    @property
    def tokens_per_chunk(self):
        return 2 * self.horizon * self.action_dim

    def encode_chunks(self, chunks):
        scaled = np.clip((self.normalization.normalize(chunks) + 1) / 2, 0, 1) * (LEVELS**2 - 1)
        whole = np.rint(scaled).astype(np.int32)
        return np.stack([whole // LEVELS, whole % LEVELS], axis=-1)

    def decode(self, tokens):
        return self.normalization.denormalize(value(check_ids(tokens, LEVELS)))

    def flatten(self, tokens):
        return np.moveaxis(tokens, -1, 1).reshape(len(tokens), -1).tolist()

    @property
    def code_axes(self):
        return self.horizon, self.action_dim, 2

    @property
    def decoder(self):
        return DigitsDecoder()


class DigitsDecoder:
    """Implements `protocol.Decoder`."""

    def actions(self, codes):
        return self.mean_actions(jnp.asarray(codes, jnp.float32))

    def mean_actions(self, levels):
        levels = jnp.asarray(levels)
        if levels.shape[-1] == 1:
            levels = jnp.concatenate([levels, jnp.full_like(levels, (LEVELS - 1) / 2)], axis=-1)
        return value(levels)

    def deviation(self, probabilities):
        levels = jnp.arange(LEVELS, dtype=jnp.float32)
        mean = jnp.einsum("btdlk,k->btdl", probabilities, levels)
        square = jnp.einsum("btdlk,k->btdl", probabilities, levels**2)
        return jnp.sqrt(jnp.maximum(square - mean**2, 0.0)).sum(axis=-1)


def value(digits):
    return (digits[..., 0] * LEVELS + digits[..., 1]) * (2 / (LEVELS**2 - 1)) - 1


@pytest.fixture
def tokenizer(chunks, monkeypatch) -> ActionTokenizer:
    monkeypatch.setitem(tokenizers.KINDS, "digits", f"{__name__}:DigitsTokenizer")
    return ActionTokenizer.fit(chunks, kind="digits")


def test_a_new_kind_trains_saves_loads_and_plays(tokenizer, chunks, tmp_path):
    store = make_store(tmp_path / "features", tokenizer, chunks[::37][:8], 160, 32, spec=SPEC)
    trunk = TrunkConfig(width=32, num_heads=2, num_blocks=1)
    training = HeadsTraining(
        model=HeadsConfig(main=trunk, draft=trunk, point_estimate="mode"),
        loss=HeadsLoss((1.0, 1.0), fine_dropout=0.0, feature_dropout=0.0, state_noise=0.0),
        loop=LoopConfig(steps=300, steps_per_call=50, evaluate_every=300),
        batch_size=16,
        ema=0.9,
    )
    shape = HeadsShape.of(SPEC, tokenizer.space, CodeShape.of(tokenizer))
    train, held_out = (
        HeadsData.of(store, split, tokenizer.space, tokenizer, training.model)
        for split in ("train", "held_out")
    )
    statistics = proprio.fit(store.state[train.rows])
    predict = evaluation.make_predict(training.model, shape, statistics, tokenizer)
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    params = trainer.train(
        training,
        shape,
        statistics,
        train.feed(training),
        evaluation.make_evaluate(predict, held_out, "mode", mesh),
        mesh=mesh,
    )
    everything = evaluation.predict_all(predict, params, held_out)
    figures = evaluation.measure(everything, held_out, train, tokenizer.space)
    assert figures["actions"]["mode"]["l1"] < 0.15
    parts = PolicyParts(
        SPEC.name, SPEC.version, training.model, shape, params, statistics,
        tokenizer.space, tokenizer, threshold=-1e9,
    )  # fmt: skip
    TokenPolicy(parts, Patches()).save_pretrained(tmp_path / "policy")
    rng = np.random.default_rng(0)
    seen = Observations(
        rng.integers(0, 256, (3, 2, 8, 8, 3), dtype=np.uint8), ["go"] * 3, store.state[:3]
    )
    for mode in ("greedy", "speculative", "early_exit"):
        loaded = TokenPolicy.from_pretrained(tmp_path / "policy", backbone=Patches(), mode=mode)
        assert loaded.parts.token_decoder.kind == "digits"
        actions = loaded.act(seen)
        assert actions.shape == (3, tokenizer.horizon, tokenizer.action_dim)
        direct = TokenPolicy(dataclasses.replace(parts), Patches(), mode).act(seen)
        np.testing.assert_array_equal(actions, direct)
