"""The report card from file to tables, picture and figures."""

from __future__ import annotations

import dataclasses
import inspect
import shutil

import numpy as np
import pytest

from eval.studies.report_card import tables
from eval.studies.report_card.candidates import Candidate, fitted
from eval.studies.report_card.config import TokenizersConfig, fittable
from eval.studies.report_card.figure import family_styles, one_each
from eval.tokenizers import main, run
from rfsq_jax.data.action_space import ActionSpace
from rfsq_jax.runs.results import read_results, without_nan
from rfsq_jax.tokenizers import tokenizer_class
from tests.support.commands import refusal
from tests.support.devices import on_one_device
from tests.support.ordered_tokenizers import CosineTokenizer


@pytest.fixture(scope="module")
def config(actions_file, tmp_path_factory) -> TokenizersConfig:
    return TokenizersConfig(
        data=(str(actions_file),),
        output=tmp_path_factory.mktemp("tokenizers"),
        fit=("bins", "fast", "robust"),
        fast_scales=(4.0, 10.0),
        fast_vocab=256,
        steps=20,
        seeds=(0, 1),
        held_out=0.3,
        statistics_chunks=10,
    )


@pytest.fixture(scope="module")
def cards(config):
    with on_one_device():
        (report,) = run(config)
    return report.cards


def by_name(cards):
    return {(card.name, card.seed): card for card in cards}


def test_every_tokenizer_has_a_card_and_what_is_trained_one_per_seed(cards):
    fixed = [("256 bins", None), ("FAST, scale 4", None), ("FAST, scale 10", None)]
    assert list(by_name(cards)) == [*fixed, ("robust", 0), ("robust", 1)]
    assert len(tables.by_name(cards)) == 4


def test_bits_follow_from_tokens_and_vocabulary(cards):
    found = by_name(cards)
    assert found["256 bins", None].fixed[0].bits == 448
    assert found["robust", 0].fixed[-1].bits == pytest.approx(1024 * np.log2(7))
    assert [point.tokens for point in found["robust", 1].fixed] == [128 * n for n in range(1, 9)]
    for card in cards:
        for point, tokens in zip(card.fixed, card.tokens, strict=True):
            assert tokens.entropy_bits <= point.bits + 1e-6


def test_naive_layers_behind_the_first_are_dead_and_change_nothing(cards, config, tmp_path):
    only = dataclasses.replace(config, fit=("naive",), seeds=(0,), output=tmp_path)
    with on_one_device():
        (report,) = run(only)
    (naive,), robust = report.cards, by_name(cards)["robust", 0]
    assert naive.fixed[-1].mse == pytest.approx(naive.fixed[0].mse)
    assert naive.tokens[-1].live_overlap < naive.tokens[-1].overlap
    assert naive.tokens[-1].entropy_bits == pytest.approx(naive.tokens[0].entropy_bits)
    assert robust.tokens[-1].entropy_bits > 2 * robust.tokens[0].entropy_bits
    assert np.mean(robust.balance) > np.mean(naive.balance)


def test_a_finer_fast_errs_less_at_more_bits(cards):
    coarse, fine = (by_name(cards)[f"FAST, scale {scale}", None].fixed[0] for scale in (4, 10))
    assert fine.mse < coarse.mse
    assert fine.bits > coarse.bits


def test_only_fast_is_malformed(cards):
    for card in cards:
        malformed = card.damage.malformed
        assert malformed.real == 0
        assert (malformed.one_error > 0.3 and malformed.random > 0.5) == (card.family == "FAST")
        assert card.family == "FAST" or (malformed.one_error, malformed.random) == (0, 0)


def test_picture_and_figures_are_written(cards, config):
    assert (config.output / "tokenizers.png").read_bytes().startswith(b"\x89PNG")
    figures = read_results(config.output / "results.json")["figures"]["horizons"]["8"]
    assert [each["name"] for each in figures["tokenizers"]] == [card.name for card in cards]
    assert figures["tokenizers"][0]["fixed"][0]["errors"]["translation_mm"] > 0
    assert [each["seed"] for each in figures["beside_fast"]] == [0, 1]
    assert set(figures["fast_clipped_chunks"]) == {"FAST, scale 4", "FAST, scale 10"}


def test_the_picture_shows_each_family_once_in_colours_of_its_own(cards):
    assert [card.name for card in one_each(cards)] == ["256 bins", "FAST, scale 10", "robust"]
    styles = family_styles(cards)
    assert len(set(styles.values())) == 3
    given = [dataclasses.replace(card, family=f"{card.family} (run)") for card in cards]
    assert family_styles(given)["robust (run)"] == styles["robust"]
    both = family_styles([*given, *cards])
    assert both["robust"] == styles["robust"]
    assert both["robust (run)"] not in styles.values()


def test_tables_give_the_range_over_seeds(cards):
    assert tables.spread([2.0, 1.0, 3.0], ".1f") == "2.0 [1.0, 3.0]"
    assert tables.spread([2.0, 2.0], ".1f") == "2.0"
    assert tables.spread([float("nan")], ".1f") == "-"
    lines = tables.errors_table(cards).splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == [
        *("256 bins", "FAST, scale 4", "FAST, scale 10"),
        *(f"robust {n}/8" for n in range(1, 9)),
    ]
    assert "[" in lines[-1]
    assert "[" not in lines[2]
    lines = tables.figures_table(cards, tables.STATISTICS).splitlines()
    assert [line.split("  ")[0] for line in lines[-3:]] == [
        *("robust", "robust, least", "robust, most")
    ]
    low, high = sorted(card.order.bits for card in cards if card.name == "robust")
    column = [title for title, _, _ in tables.STATISTICS].index("model")
    found = [line.split()[-len(tables.STATISTICS) :][column] for line in lines[-2:]]
    assert found == [f"{low:.0f}", f"{high:.0f}"]


def test_what_is_not_known_is_null_in_the_figures():
    found = without_nan({"a": [1.0, float("nan")], "b": (2, "x")})
    assert found == {"a": [1.0, None], "b": [2, "x"]}


def test_a_second_run_loads_what_the_first_fitted(cards, config, capsys):
    before = {path: path.stat().st_mtime_ns for path in (config.output / "trained").iterdir()}
    kept = dataclasses.replace(config, fit=("robust", "fast"), seeds=(1,))
    with on_one_device():
        (again,) = run(kept)
    after = {path: path.stat().st_mtime_ns for path in (config.output / "trained").iterdir()}
    assert before == after
    found = by_name(again.cards)
    assert found["robust", 1].fixed == by_name(cards)["robust", 1].fixed
    assert "FAST / tokenizer" in capsys.readouterr().out


def test_an_ordered_tokenizer_is_compared_at_every_length(config, tmp_path, monkeypatch, capsys):
    def with_ordered(config, chunks):
        yield from fitted(config, chunks)
        tokenizer = CosineTokenizer(ActionSpace.fit(chunks))
        yield Candidate("ordered", "ordered", None, lambda: tokenizer)

    monkeypatch.setattr("eval.tokenizers.fitted", with_ordered)
    (report,) = run(dataclasses.replace(config, fit=("fast",)))
    ordered = report.cards[-1]
    assert [point.tokens for point in ordered.fixed] == list(range(57))
    assert ordered.fixed[-1].mse < 0.01 * ordered.fixed[0].mse
    assert len(ordered.cut) > 10
    printed = capsys.readouterr().out
    assert "ordered 56/56" in printed
    assert "ordered, cut" in printed
    assert "ordered, fixed lengths from 40 to 200 bits: at most FAST's error at" in printed


def test_every_kind_is_fitted_with_what_it_takes(config, monkeypatch):
    chunks, asked = np.zeros((4, 8, 7), np.float32), []
    monkeypatch.setattr(
        "eval.studies.report_card.candidates.fit_once",
        lambda folder, chunks, options: asked.append(options),
    )
    for candidate in fitted(dataclasses.replace(config, fit=fittable(), seeds=(3,)), chunks):
        candidate.make()
    for options in asked:
        known = inspect.signature(tokenizer_class(options["kind"]).fit_chunks).parameters
        assert set(options) - {"kind"} <= set(known)
    assert len(asked) == len(fittable()) + 1
    untrained = ("bins", "fast")
    trained = [each for each in asked if each["kind"] not in untrained and each.get("dense", True)]
    assert len(trained) == len(asked) - len(untrained) - 2
    seeds = [each["training"].loop.seed if "training" in each else each["seed"] for each in trained]
    assert seeds == [3] * len(trained)


def test_given_tokenizers_are_measured_beside_or_in_place_of_fitted_ones(cards, config, tmp_path):
    (folder,) = (config.output / "trained").glob("bins-*")
    shutil.copytree(folder, tmp_path / "run" / "tokenizer")
    given = (str(folder), str(tmp_path / "run"))
    other = dataclasses.replace(config, output=tmp_path / "out", fit=(), tokenizers=given)
    (report,) = run(other)
    assert [card.name for card in report.cards] == [f"bins ({folder.name})", "bins (run)"]
    for card in report.cards:
        assert card.fixed == by_name(cards)["256 bins", None].fixed
    assert not (tmp_path / "out" / "trained").exists()


def test_several_horizons_and_dims_of_no_meaning(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "arm.npz", *[rng.choice([-1.0, 0.0, 1.0], (40, 3)) for _ in range(8)])
    config = TokenizersConfig(
        data=(str(tmp_path / "arm.npz"),),
        output=tmp_path / "out",
        fit=("bins",),
        horizon=(4, 16),
        held_out=0.5,
    )
    reports = run(config)
    assert [report.cards[0].fixed[0].tokens for report in reports] == [12, 48]
    assert "other_error" in reports[0].cards[0].fixed[0].errors
    assert (tmp_path / "out" / "tokenizers_16.png").is_file()


def refused(options, capsys, tmp_path):
    return refusal(main, [*map(str, options), "--output", str(tmp_path / "out")], capsys)


def test_bad_data_end_the_command_with_one_line(tmp_path, capsys):
    line = refused(["--data", tmp_path / "none.npz"], capsys, tmp_path)
    assert line == f"eval.tokenizers: actions file {tmp_path}/none.npz does not exist"
    np.savez(tmp_path / "short.npz", a=np.zeros((5, 7)), b=np.zeros((5, 7)))
    line = refused(["--data", tmp_path / "short.npz"], capsys, tmp_path)
    assert "training episode of more than 8 steps" in line
    np.savez(tmp_path / "one.npz", a=np.zeros((50, 7)))
    line = refused(["--data", tmp_path / "one.npz"], capsys, tmp_path)
    assert "expected enough episodes" in line


def test_tokenizers_that_do_not_fit_are_refused(cards, config, actions_file, tmp_path, capsys):
    (bins,) = (config.output / "trained").glob("bins-*")
    options = ["--tokenizers", bins, "--fit", "bins", "--data"]
    line = refused([*options, actions_file, "--horizon", "4"], capsys, tmp_path)
    assert f"horizon of {bins} must be one of [4], those compared, got 8" in line
    np.savez(tmp_path / "arms.npz", a=np.zeros((20, 14)), b=np.zeros((20, 14)))
    line = refused([*options, tmp_path / "arms.npz"], capsys, tmp_path)
    assert f"must be 14 as the data's, got '7 in {bins}'" in line
    line = refused(["--tokenizers", "no_such_run", "--data", actions_file], capsys, tmp_path)
    assert "'no_such_run'" in line


def test_bad_options_end_the_command(capsys, tmp_path):
    line = refused(["--fit", "robus"], capsys, tmp_path)
    assert "'robus'; did you mean 'robust'?" in line
    with pytest.raises(SystemExit):
        main(["--daat", "x.npz"])
    with pytest.raises(SystemExit):
        main(["--steps", "0"])
