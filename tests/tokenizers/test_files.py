"""A tokenizer on disk: what is saved is what is loaded, whoever else saves, and nothing else is."""

import concurrent.futures
import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from rfsq_jax import ActionTokenizer
from tests.support.descriptions import change
from tests.support.tokenizers import untrained_tokenizer

CHUNKS = np.random.default_rng(0).uniform(-1, 1, (16, 4, 7)).astype(np.float32)
KINDS = ("step", "bins", "fast")


def fitted(kind):
    if kind == "step":
        return untrained_tokenizer(CHUNKS)
    return ActionTokenizer.fit(CHUNKS, kind=kind)


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    fitted(request.param).save_pretrained(tmp_path / "it")
    return tmp_path / "it"


def description_of(folder):
    return json.loads((folder / "tokenizer.json").read_text())


def test_every_change_of_the_description_is_noticed(folder):
    path, description = folder / "tokenizer.json", description_of(folder)
    low = description["normalization"]["low"]
    changes = [
        *({key: [value]} for key, value in description.items()),
        {"normalization": {**description["normalization"], "low": [low[0] + 1e-7, *low[1:]]}},
        {"horizon": description["horizon"] + 1},
        {"format_version": 2},
    ]
    for each in changes:
        path.write_text(json.dumps({**description, **each}))
        with pytest.raises(ValueError, match=r"tokenizer\.json"):
            ActionTokenizer.from_pretrained(folder)
    path.write_text(json.dumps(description))
    ActionTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": -8}, "horizon must be at least 1, got -8"),
        ({"horizon": "8"}, "horizon must be a valid integer, got '8'"),
        ({"format_version": -5}, "no format_version of 1 or more"),
        ({"format_version": True}, "no format_version of 1 or more"),
        ({"kind": "step2"}, "kind must be one of step, ordered, bins, fast, got 'step2'"),
        ({"normalization": {"low": [0.0], "high": [1.0]}}, "of the spec's 7 dims, got 1"),
        ({"normalization": {"low": [0.0] * 7}}, "normalization.high is missing"),
        ({"action_spec": {"groups": []}}, "groups must be at least one"),
        ({"range": {"low": [1.0] * 7, "high": [0.0] * 7}}, "range"),
        ({"config": {}}, "(config|bpe)"),
        ({"note": "mine"}, "note is unknown"),
    ],
)
def test_a_description_that_no_tokenizer_has_is_named(folder, changes, message):
    change(folder / "tokenizer.json", **changes)
    with pytest.raises(ValueError, match=rf"tokenizer\.json.*{message}"):
        ActionTokenizer.from_pretrained(folder)


def test_levels_that_the_weights_were_not_made_for_are_noticed(tmp_path):
    fitted("step").save_pretrained(tmp_path / "it")
    path = tmp_path / "it" / "tokenizer.json"
    description = description_of(tmp_path / "it")
    description["config"]["rfsq"]["num_levels"] = 9
    path.write_text(json.dumps(description))
    with pytest.raises(ValueError, match="its sha256 is not that of its content"):
        ActionTokenizer.from_pretrained(tmp_path / "it")


def test_the_current_folder_can_be_saved_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in KINDS:
        tokenizer = fitted(kind)
        tokenizer.save_pretrained(".")
        assert ActionTokenizer.from_pretrained(".").version == tokenizer.version
    assert Path.cwd().samefile(tmp_path)


def test_another_folder_and_its_files_are_left_alone(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "weights.npz").write_bytes(b"of something else")
    for name in ("home", "weights"):
        with pytest.raises(ValueError, match="holds other files"):
            fitted("bins").save_pretrained(tmp_path / name)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / "weights" / "weights.npz").read_bytes() == b"of something else"


def save_and_load(folder):
    """Eight threads, each of which saves and loads one name; every load is one of the saved."""
    several = {
        num_bins: ActionTokenizer.fit(CHUNKS, kind="bins", num_bins=num_bins)
        for num_bins in (8, 16)
    }
    versions = {each.version for each in several.values()}

    def work(number):
        several[8 if number % 2 else 16].save_pretrained(folder)
        return ActionTokenizer.from_pretrained(folder).version

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        return set(threads.map(work, range(32))) <= versions


def test_threads_save_and_load_one_name(tmp_path):
    assert save_and_load(tmp_path / "it")
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


@pytest.mark.slow
def test_processes_save_and_load_one_name(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert all(pool.map(save_and_load, [tmp_path / "it"] * 4))
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_nothing_but_files_is_read(folder):
    weights = folder / "weights.npz"
    weights.unlink()
    os.mkfifo(weights)
    with pytest.raises(ValueError, match=r"weights\.npz"):
        ActionTokenizer.from_pretrained(folder)
