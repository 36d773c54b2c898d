"""The comparison from file to table, picture and figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from eval.studies.tokenizer_candidates import TokenizersConfig, load_chunks
from eval.studies.tokenizer_figure import full_codes
from eval.tokenizers import main, run
from tests.support.commands import refusal


@pytest.fixture(scope="module")
def config(actions_file, tmp_path_factory) -> TokenizersConfig:
    output = tmp_path_factory.mktemp("tokenizers")
    return TokenizersConfig(
        actions=actions_file, output=output, fast_scales=(4.0, 10.0), fast_vocab=256, steps=20
    )


@pytest.fixture(scope="module")
def rows(config):
    return run(config)


def by_name(rows):
    return {row.name: row for row in rows}


def test_every_tokenizer_and_every_prefix_has_a_row(rows):
    prefixes = [f"{name} {n}/8" for name in ("naive", "scale", "robust") for n in range(1, 9)]
    assert [row.name for row in rows] == ["256 bins", "FAST, scale 4", "FAST, scale 10", *prefixes]


def test_bits_follow_from_tokens_and_vocabulary(rows):
    found = by_name(rows)
    assert found["256 bins"].bits == 448
    assert found["robust 8/8"].bits == pytest.approx(1024 * np.log2(7))
    assert found["robust 2/8"].tokens == 256
    for row in rows:
        assert row.statistics.entropy_bits <= row.bits + 1e-6


def test_naive_layers_behind_the_first_are_dead_and_change_nothing(rows):
    found = by_name(rows)
    assert found["naive 8/8"].statistics.perplexity[1:] == pytest.approx([1.0] * 7)
    assert found["naive 8/8"].errors["mse"] == pytest.approx(found["naive 1/8"].errors["mse"])
    assert found["naive 8/8"].statistics.live_overlap < found["naive 8/8"].statistics.overlap
    assert min(found["robust 8/8"].statistics.perplexity) > 1.5


def test_a_finer_fast_errs_less_at_more_bits(rows):
    coarse, fine = by_name(rows)["FAST, scale 4"], by_name(rows)["FAST, scale 10"]
    assert fine.errors["mse"] < coarse.errors["mse"]
    assert fine.bits > coarse.bits


def test_the_picture_and_the_figures_are_written(rows, config):
    assert (config.output / "tokenizers.png").read_bytes().startswith(b"\x89PNG")
    results = json.loads((config.output / "results.json").read_text())
    assert [row["name"] for row in results["figures"]["tokenizers"]] == [row.name for row in rows]
    assert results["config"]["fast_vocab"] == 256


def test_the_picture_shows_each_residual_code_once(rows):
    assert [row.name for row in full_codes(rows)][-3:] == ["naive 8/8", "scale 8/8", "robust 8/8"]


def test_a_second_run_loads_what_the_first_trained(rows, config):
    trained = sorted((config.output / "trained").iterdir())
    before = [path.stat().st_mtime_ns for path in trained]
    again = run(config)
    assert len(trained) == 3
    assert [path.stat().st_mtime_ns for path in trained] == before
    assert [row.errors for row in again] == [row.errors for row in rows]


def test_given_runs_take_the_place_of_training(rows, config, tmp_path, actions_file):
    runs = tuple(str(path) for path in (config.output / "trained").iterdir())
    other = TokenizersConfig(actions=actions_file, output=tmp_path, runs=runs, fast_scales=())
    found = by_name(run(other))
    assert not (tmp_path / "trained").exists()
    assert found["robust 8/8"].errors == by_name(rows)["robust 8/8"].errors


def test_held_out_chunks_share_no_step_with_training_chunks(config):
    train, held_out = load_chunks(config)
    seen = {chunk.tobytes() for chunk in train}
    assert not any(chunk.tobytes() in seen for chunk in held_out.chunks)
    assert len(held_out.adjacent) == len(held_out.chunks) - 1


def test_bad_files_end_the_command_with_one_line(tmp_path, capsys):
    line = refusal(main, ["--actions", str(tmp_path / "none.npz")], capsys)
    assert line == f"eval.tokenizers: actions file {tmp_path}/none.npz does not exist"
    np.savez(tmp_path / "short.npz", a=np.zeros((5, 7)), b=np.zeros((5, 7)))
    line = refusal(main, ["--actions", str(tmp_path / "short.npz")], capsys)
    assert "training episode of more than 8 steps" in line
    np.savez(tmp_path / "one.npz", a=np.zeros((50, 7)))
    line = refusal(main, ["--actions", str(tmp_path / "one.npz")], capsys)
    assert "expected enough episodes" in line


def test_a_run_folder_of_train_ae_is_looked_into(rows, config, tmp_path, actions_file):
    for path in (config.output / "trained").iterdir():
        shutil.copytree(path, tmp_path / path.name / "tokenizer")
    runs = (*map(str, tmp_path.iterdir()), *map(str, (config.output / "trained").glob("robust-*")))
    other = TokenizersConfig(
        actions=actions_file, output=tmp_path / "out", runs=runs, fast_scales=()
    )
    found = by_name(run(other))
    assert found["robust 8/8"].errors == found[f"robust ({Path(runs[-1]).name}) 8/8"].errors


def test_a_missing_run_is_named(actions_file, capsys):
    line = refusal(main, ["--actions", str(actions_file), "--runs", "no_such_run"], capsys)
    assert "'no_such_run'" in line


def test_bad_options_end_the_command(capsys):
    with pytest.raises(SystemExit):
        main(["--actoins", "x.npz"])
    with pytest.raises(SystemExit):
        main(["--steps", "0"])
