"""RLDS folders whose description and files disagree."""

from __future__ import annotations

import json
import shutil

import pytest

from rfsq_jax.data.readers.rlds import read_rlds
from rfsq_jax.data.readers.tfds import find_shards
from tests.support.rlds_folders import write_folder

NAME = "libero_spatial-train.tfrecord"


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path, lengths=(6, 6), num_shards=2)
    return tmp_path


def test_files_are_found_by_their_numbers(folder):
    shutil.copy(folder / f"{NAME}-00000-of-00002", folder / "libero_spatial-val.tfrecord-00000")
    assert [(each.path.name, each.episodes) for each in find_shards(folder, "train", {})] == [
        (f"{NAME}-00000-of-00002", 1),
        (f"{NAME}-00001-of-00002", 1),
    ]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (f"{NAME}-00002-of-00003", "must hold 2 .tfrecord files .* got 3"),
        (f"{NAME}-00002-of-00002", "00002-of-00002 must have a number below 2"),
        (f"another-{NAME}-00001-of-00002", "all of one data set; got 3"),
    ],
)
def test_files_too_many_or_of_another_data_set_are_refused(folder, more, message):
    shutil.copy(folder / f"{NAME}-00001-of-00002", folder / more)
    with pytest.raises(ValueError, match=message):
        read_rlds(folder)


def test_files_of_another_number_of_files_are_refused(folder):
    for number in range(2):
        (folder / f"{NAME}-0000{number}-of-00002").rename(folder / f"{NAME}-0000{number}-of-00007")
    with pytest.raises(ValueError, match=r"must hold 2 \.tfrecord files of the split 'train'"):
        read_rlds(folder)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ([], "splits must be a list, got None"),
        ({"splits": {}}, "splits must be a list, got {}"),
        ({"splits": [3]}, "name must be a str, got None"),
        ({"splits": [{"name": "../train", "shardLengths": []}]}, "name of its own, got '../train'"),
        ({"splits": [{"name": "a/b", "shardLengths": []}]}, "name of its own, got 'a/b'"),
        (
            {"splits": [{"name": "train", "shardLengths": ["1"]}] * 2},
            "name of its own, got 'train'",
        ),
        ({"splits": [{"name": "train"}]}, "shardLengths must be a list, got None"),
        ({"splits": [{"name": "train", "shardLengths": ["-1"]}]}, "numbers of episodes, got '-1'"),
        ({"splits": [{"name": "train", "shardLengths": [1.5]}]}, "numbers of episodes, got 1.5"),
        ({"splits": [{"name": "train", "shardLengths": ["9" * 30]}]}, "numbers of episodes, got"),
    ],
)
def test_an_info_that_is_none_is_named(folder, info, message):
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match=rf"dataset_info\.json: .*{message}"):
        read_rlds(folder)


def nested(depth: int) -> dict:
    inner: dict = {}
    for _ in range(depth):
        inner = {"sequence": {"feature": inner}}
    return inner


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([], r"it must describe a field, got \[\]"),
        ({"sequence": 3}, "sequence must be a dict, got 3"),
        ({"featuresDict": {"features": {"steps": []}}}, r"steps must describe a field, got \[\]"),
        (nested(100), "it must describe a field"),
        (
            {"featuresDict": {"features": {"steps/action": {"tensor": {"shape": 7}}}}},
            "shape must be a dict, got 7",
        ),
    ],
)
def test_features_that_are_none_are_named(folder, features, message):
    (folder / "features.json").write_text(json.dumps(features))
    with pytest.raises(ValueError, match=rf"features\.json: {message}"):
        find_shards(folder, "train", {"steps/action": 7})
