"""The comparison of policies, with untrained heads and made-up episodes."""

import json

import jax
import numpy as np
import pytest

from eval import compare
from eval.studies import compare_table as table
from eval.studies.contenders import (
    NAIVE,
    STRATEGY_A,
    STRATEGY_B,
    Contender,
    swap_decoder,
    swap_evidence,
    there_and_back,
)
from rfsq_jax.evaluation.libero import Outcome
from rfsq_jax.heads.config import HeadsConfig, TrunkConfig
from rfsq_jax.policies.files import load_policy, save_policy
from rfsq_jax.rfsq import RFSQConfig
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.tokenizers.step import ActionTokenizer, StepTokenizer
from rfsq_jax.training.autoencoder.training import TrainingConfig
from rfsq_jax.training.loop import LoopConfig
from tests.support.commands import refusal
from tests.support.feature_store import SPEC, make_store
from tests.support.policies import untrained_parts

SMALL = TrunkConfig(width=16, num_heads=2, num_blocks=1)
KINDS = {
    "naive": HeadsConfig(main=SMALL, draft=SMALL),
    "robust": HeadsConfig(main=SMALL, draft=SMALL),
    "bins": HeadsConfig(kind="bins", main=SMALL, draft=None),
    "l1": HeadsConfig(kind="regression", main=SMALL, draft=None),
}

# The features hold demonstrations of another suite than the bundled tokenizer was fitted on.
BEYOND_THE_RANGE = pytest.mark.filterwarnings(
    "ignore::rfsq_jax.data.action_range.OutOfRangeWarning"
)


@pytest.fixture(scope="module")
def tokenizers(chunks):
    naive = AutoencoderConfig(rfsq=RFSQConfig(conditioning="none"))
    loop = LoopConfig(steps=200, steps_per_call=100, evaluate_every=200)
    fitted = StepTokenizer.fit(chunks, training=TrainingConfig(model=naive, loop=loop))
    return {"naive": fitted, "robust": ActionTokenizer.from_pretrained("libero")}


@pytest.fixture(scope="module")
def folder(tokenizers, chunks, tmp_path_factory):
    """Features, and one untrained policy of each kind."""
    folder = tmp_path_factory.mktemp("compare")
    store = make_store(folder / "features", tokenizers["robust"], chunks[::37][:8], 64, 32)
    for name, config in KINDS.items():
        tokenizer = tokenizers.get(name, tokenizers["robust"])
        parts = untrained_parts(SPEC, config, tokenizer, store.state)
        save_policy(folder / name / "policy", parts)
    return folder


def options(folder, output):
    return [
        *("--naive", str(folder / "naive/policy"), "--robust", str(folder / "robust/policy")),
        *("--others", str(folder / "bins/policy"), str(folder / "l1/policy")),
        *("--features", str(folder / "features"), "--output", str(output)),
        *("--suite", "libero_object", "--tasks", "0", "2", "--trials", "4"),
    ]


def played(wins):
    """Figures of eval.libero for four episodes of an easy task and four of a fine-grained one."""
    rules = {"starts": "random", "placement_margin": 0.05, "seed": 0}
    rules |= {"settle_steps": 10, "step_limit": None}
    episodes = [
        {
            "suite": "libero_object",
            "task": task,
            "trial": trial,
            "initial_state": None,
            "placement_seed": trial,
            "success": 4 * place + trial < wins,
        }
        for place, task in enumerate((2, 0))
        for trial in range(4)
    ]
    return {
        "protocol": rules,
        "episodes": episodes,
        "time": {"policy": {"act": 0.004}},
        "suites": {},
        "deviations": [],
    }


@BEYOND_THE_RANGE
def test_the_whole_command(folder, tmp_path, monkeypatch, capsys):
    wins = {NAIVE: 5, STRATEGY_A: 7, STRATEGY_B: 0, "bins": 4, "l1": 8}
    asked = []

    def play(options):
        asked.append(options)
        figures = played(wins[options.output.name.replace("_", " ")])
        return Outcome(figures, [], options.output, options.output / "report.html")

    monkeypatch.setattr(compare, "play", play)
    assert compare.main(options(folder, tmp_path)) == 0
    printed = capsys.readouterr().out
    assert len(asked) == 5
    first = asked[0]
    assert (first.starts, first.tasks, first.trials, first.video) == ("random", (0, 2), 4, "none")
    assert "87.5% [92 %]" in printed
    assert "0.0% [89-90 %]" in printed
    figures = json.loads((tmp_path / "results.json").read_text())["figures"]
    found = figures["contenders"]
    assert found[NAIVE]["played"]["fine_grained"]["successes"] == 1
    assert found["l1"]["against_strategy_a"]["libero_object"]["second"] == 1
    assert "reconstruction" not in found["l1"]
    errors = {name: each["reconstruction"]["mse"] for name, each in found.items() if name != "l1"}
    assert errors[STRATEGY_A] < errors[NAIVE] < errors[STRATEGY_B]
    assert errors[STRATEGY_B] == pytest.approx(figures["swap"]["mse_of_swap"], rel=1e-4)


def test_strategy_b_is_naive_heads_and_a_robust_decoder(folder, tmp_path, tokenizers):
    ours, theirs = (folder / name / "policy" for name in ("naive", "robust"))
    swapped = load_policy(swap_decoder(ours, theirs, tmp_path / "swapped"))
    naive = load_policy(ours)
    jax.tree.map(np.testing.assert_array_equal, swapped.params, naive.params)
    assert swapped.token_decoder.version == tokenizers["robust"].version
    assert swapped.token_decoder.version != naive.token_decoder.version


@BEYOND_THE_RANGE
def test_tokenizers_agree_with_themselves_and_reconstruct_as_they_do(tokenizers, chunks):
    evidence = swap_evidence(tokenizers["robust"], tokenizers["robust"], chunks)
    assert evidence["same_codes"] == [1.0] * 8
    assert evidence["mse_of_swap"] < 0.1 * evidence["mse_of_mean"]
    crossed = swap_evidence(tokenizers["naive"], tokenizers["robust"], chunks)
    assert all(0 <= share <= 1 for share in crossed["same_codes"] + crossed["by_chance"])
    assert crossed["mse_of_swap"] > 2 * evidence["mse_of_swap"]
    assert "worse than always" in table.explanation({**crossed, "mse_of_swap": 9.0})
    assert "better than always" in table.explanation(evidence)


def test_perfect_bins_lose_what_lies_outside_and_half_a_bin(folder, chunks):
    path = folder / "bins" / "policy"
    parts = load_policy(path)
    actions = chunks[:16]
    back = there_and_back(Contender("bins", path, path), parts, actions)
    assert back is not None
    normalize = parts.space.normalization.normalize
    inside = np.abs(normalize(actions)) <= 1
    assert np.abs(normalize(back) - normalize(actions))[inside].max() <= 1 / 256 + 1e-5


def test_missing_policies_and_names_that_clash_are_refused(folder, tmp_path, capsys):
    arguments = options(folder, tmp_path)
    arguments[1] = str(tmp_path / "nothing")
    assert "no policy" in refusal(compare.main, arguments, capsys)
    arguments = options(folder, tmp_path)
    arguments[arguments.index("--others") + 2] = str(folder / "bins/policy")
    assert "different names" in refusal(compare.main, arguments, capsys)
