"""The decoding command on a small untrained policy, and what its verdicts rest on."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from eval import decoding
from eval.studies.decoding_cost import count_flops
from eval.studies.decoding_frames import (
    EXIT_SHARES,
    Frames,
    exit_curve,
    measure_frames,
    spread_rows,
)
from rfsq_jax.backbones.protocol import Backbone
from rfsq_jax.features.store import FeatureStore
from rfsq_jax.heads import network, proprio
from rfsq_jax.heads.config import HeadsConfig, TrunkConfig
from rfsq_jax.heads.early_exit import Cost, CurvePoint
from rfsq_jax.policies import loading
from rfsq_jax.policies.files import save_policy
from rfsq_jax.policies.parts import PolicyParts
from rfsq_jax.tokenizers import ActionTokenizer
from tests.support.commands import refusal
from tests.support.feature_store import SPEC, make_store
from tests.support.policies import untrained_parts
from tests.support.tokenizers import untrained_tokenizer

TRUNK = TrunkConfig(width=16, num_heads=2, num_blocks=1)
HELD_OUT = 48
QUICK = ["--rounds", "1", "--calls", "1", "--batch-size", "32"]


class Stored(Backbone):
    """A backbone whose features do not depend on what it sees."""

    def __init__(self):
        super().__init__(SPEC)
        rng = np.random.default_rng(0)
        shapes = {name: (depth.tokens, depth.width) for name, depth in SPEC.depths.items()}
        self.params = {name: rng.normal(size=shape) for name, shape in shapes.items()}

    def prepare(self, observations):
        return {"ones": np.ones((len(observations), 1, 1), np.float32)}

    def early(self, params, inputs):
        return inputs["ones"] * params["early"][None], inputs["ones"]

    def late(self, params, carry):
        return carry * params["final"][None]


@pytest.fixture(scope="module")
def tokenizer(chunks) -> ActionTokenizer:
    return untrained_tokenizer(chunks)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("decoding")


@pytest.fixture(scope="module")
def store(folder, tokenizer) -> FeatureStore:
    chunks = np.random.default_rng(0).uniform(-1, 1, (6, 8, 7)).astype(np.float32)
    return make_store(folder / "features", tokenizer, chunks, count=80, held_out=HELD_OUT)


def policy(store, tokenizer, config: HeadsConfig) -> PolicyParts:
    return untrained_parts(SPEC, config, tokenizer, store.state, seed=0)


@pytest.fixture(scope="module")
def parts(store, tokenizer) -> PolicyParts:
    return policy(store, tokenizer, HeadsConfig(main=TRUNK, draft=TRUNK, point_estimate="mean"))


@pytest.fixture
def options(folder, parts, tmp_path, monkeypatch) -> list[str]:
    monkeypatch.setattr(loading, "camera_backbone", lambda *_: Stored())
    save_policy(folder / "policy", parts)
    places = ["--policy", str(folder / "policy"), "--features", str(folder / "features")]
    return [*places, "--output", str(tmp_path)]


def frames(count: int = 64, seed: int = 0) -> tuple[Frames, np.ndarray]:
    """Frames of eight episodes whose draft is the worse the less it trusts itself."""
    rng = np.random.default_rng(seed)
    sure, main = rng.uniform(-1, 0, count), rng.uniform(0.1, 0.2, count)
    draft = main * (1.0 - 0.5 * sure)
    columns = (each.astype(np.float32) for each in (sure, main, draft))
    return Frames(np.ones(count, bool), *columns), np.arange(count) % 8


def test_the_command_finds_speculation_lossless_and_writes_its_figures(options, tmp_path, capsys):
    assert decoding.main([*options, *QUICK]) == 0
    out = capsys.readouterr().out
    assert f"on {HELD_OUT} of {HELD_OUT} held-out chunks" in out
    figures = json.loads((tmp_path / "results.json").read_text())["figures"]
    assert figures["speculation"]["identical"] == HELD_OUT
    points = figures["early_exit"]["curve"]
    main, draft = (figures["early_exit"][f"error_of_{name}"] for name in ("main", "draft"))
    assert (points[0]["exit_share"], points[0]["error"]) == (0.0, 1.0)
    assert points[-1]["exit_share"] == 1.0
    assert points[-1]["error"] == pytest.approx(draft / main, rel=0.1)
    assert (tmp_path / "decoding.png").read_bytes()[:4] == b"\x89PNG"


def test_acceptance_is_the_agreement_of_draft_and_main(parts, store):
    rows = store.rows("held_out")
    found, acceptance = measure_frames(parts, store, rows, 20, lambda done: None)
    heads = network.bind(parts.config, parts.shape, parts.params)
    state = proprio.normalize(parts.statistics, store.state[rows])
    coarse = heads.main.coarse(heads.main.hidden(store.gather("final", rows), state))
    draft = heads.draft(store.gather("early", rows), state)
    same = np.asarray(coarse).argmax(axis=-1) == np.asarray(draft).argmax(axis=-1)
    np.testing.assert_allclose(acceptance.tokens, same.sum(axis=(0, 1, 2)), atol=1)
    np.testing.assert_allclose(acceptance.steps, same.all(axis=(2, 3)).sum(axis=0), atol=1)
    assert found.identical.shape == found.confidence.shape == (HELD_OUT,)


def test_flops_grow_from_exit_to_full_to_stay(parts):
    flops = count_flops(parts, Stored())
    assert 0 < flops.exit < flops.full < flops.stay


def test_the_threshold_is_chosen_on_every_second_episode_and_measured_on_the_others():
    (all_frames, episode), cost = frames(), Cost(1.0, 0.5, 1.1)
    chosen, points = exit_curve(all_frames, episode, 0.03, cost, cost)
    odd = episode % 2 == 1
    changed = dataclasses.replace(
        all_frames, error_draft=np.where(odd, 9.0, all_frames.error_draft)
    )
    other, _ = exit_curve(changed, episode, 0.03, cost, cost)
    assert other.threshold == chosen.threshold
    exits = odd & (all_frames.confidence >= chosen.threshold)
    assert chosen.exit_share == pytest.approx(exits.sum() / odd.sum())
    assert other.error > 2 * chosen.error
    assert [point.exit_share for point in points] == pytest.approx(EXIT_SHARES, abs=0.02)


@pytest.mark.parametrize(
    ("seconds", "error", "word"), [(0.69, 1.02, "pass"), (0.71, 1.02, "FAIL"), (0.6, 1.04, "FAIL")]
)
def test_the_verdict_asks_for_saved_time_and_a_small_error(seconds, error, word):
    point = CurvePoint(-1.0, 0.5, 0.6, seconds, error)
    text = decoding.verdict([point], point)
    assert text.startswith(word)
    assert f"{int(word == 'pass')} of 1 points" in text


def test_rows_are_spread_over_all_episodes():
    rows = np.arange(100, 200)
    np.testing.assert_array_equal(spread_rows(rows, 500), rows)
    few = spread_rows(rows, 5)
    assert (few[0], few[-1], len(few)) == (100, 199, 5)


@pytest.mark.parametrize("kind", ["bins", "regression", "tokens"])
def test_policies_without_a_draft_are_refused(kind, options, folder, store, tokenizer, capsys):
    parts = policy(store, tokenizer, HeadsConfig(kind=kind, main=TRUNK, draft=None))
    save_policy(folder / "policy", parts)
    line = refusal(decoding.main, [*options, *QUICK], capsys)
    assert f"policy must have token heads with a draft, got kind '{kind}' without one" in line


def test_an_original_model_is_refused(options, capsys):
    line = refusal(decoding.main, [*options, "--policy", "openvla-oft"], capsys)
    assert line == (
        "eval.decoding: policy must have token heads with a draft, "
        "got the original model openvla-oft"
    )


def test_a_policy_that_does_not_exist_is_named(options, capsys):
    line = refusal(decoding.main, [*options, "--policy", "nowhere"], capsys)
    assert "no policy 'nowhere'" in line
