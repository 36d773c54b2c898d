"""Mutators: decided by their seed, and each changes the files that it is for."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import jax.numpy as jnp
import numpy as np
import pytest

from tests.fuzz.array_mutators import BOMB_BYTES, bomb, load_array, read_members
from tests.fuzz.byte_mutators import BYTES
from tests.fuzz.container_mutators import read_framed, write_framed
from tests.fuzz.formats import FORMATS
from tests.fuzz.instances import Special, make_files, read_files, scratch_folder, write_files
from tests.fuzz.json_mutators import DEPTH, JSON
from tests.fuzz.mutators import FOLDERS, damage, structured
from tests.fuzz.summary import fingerprint

SEEDS = range(40)
RICH = b'{"one": {"n": [3, 0.5], "on": true, "text": "t"}, "two": {"n": [4], "on": false}}'
FILES = {
    "recorded-actions": "recorded.npz",
    "episode-actions": "actions/libero_goal-task03-trial00.npy",
    "our-hdf5": "put_the_cube_demo.hdf5",
    "rlds": "libero_spatial-train.tfrecord-00000-of-00002",
    "picture-png": "picture.png",
    "torch-zip": "head.pt",
    "torch-legacy": "head.pt",
}


def samples():
    yield "rich.json", RICH
    yield "rich.jsonl", RICH + b"\n" + RICH.replace(b"one", b"three") + b"\n"
    yield "rich.safetensors", len(RICH).to_bytes(8, "little") + RICH + bytes(64)
    for name, path in FILES.items():
        yield path, make_files(FORMATS[name].make, 0)[path]


def tables():
    for path, content in samples():
        for name, mutate in {**structured(path, content), **BYTES}.items():
            yield pytest.param(mutate, content, id=f"{path}-{name}")


def draw(mutate, content, seed):
    return mutate(np.random.default_rng(seed), content)


@pytest.mark.parametrize(("mutate", "content"), list(tables()))
def test_a_mutator_changes_what_it_is_for(mutate, content):
    seed = next(each for each in SEEDS if draw(mutate, content, each) != content)
    assert draw(mutate, content, seed) == draw(mutate, content, seed)


@pytest.mark.parametrize(("path", "content"), list(samples()), ids=lambda each: str(each)[:20])
def test_each_format_has_mutators_of_its_own(path, content):
    assert structured(path, content)


def weights_folder(seed):
    content = bytes([seed]) * 50
    description = f'{{"sha256": "{hashlib.sha256(content).hexdigest()}", "seed": {seed}}}'
    return {"description.json": description.encode(), "a/weights.bin": content}


def test_a_folder_is_damaged_at_one_place_or_forged():
    files, other = weights_folder(0), weights_folder(1)
    seen = set()
    for seed in range(400):
        found = damage(np.random.default_rng(seed), files, other)
        changed = {path for path in files if found.files.get(path) != files[path]}
        assert found.path in changed
        assert len(changed) == 1 or found.forged or found.mutator in FOLDERS
        seen.add(found.mutator)
        if found.forged:
            weights, description = found.files["a/weights.bin"], found.files["description.json"]
            assert isinstance(weights, bytes)
            assert isinstance(description, bytes)
            assert hashlib.sha256(weights).hexdigest().encode() in description
    assert seen >= {*FOLDERS, *BYTES} - {"folder of another instance"}
    assert any(name.endswith("hash made to fit") for name in seen)


def test_special_files_lie_where_files_were():
    with scratch_folder() as folder:
        kinds = {"a/b": Special.FOLDER, "c": Special.LOOP, "d": Special.FIFO, "e": b"1"}
        write_files(folder, kinds)
        assert (folder / "a/b").is_dir()
        assert (folder / "c").is_symlink()
        assert (folder / "d").is_fifo()
        assert read_files(folder) == {"e": b"1"}


def test_numbers_stay_json_where_a_digit_changes():
    content = b'{"a": [10, 0.5, -2e-07], "b": true}'
    for seed in SEEDS:
        changed = draw(JSON["change a digit"], content, seed)
        assert changed != content
        assert fingerprint(json.loads(changed)) != fingerprint(json.loads(content))


def test_texts_of_no_tree_are_written_as_they_are():
    content = b'{"a": 1}'
    assert draw(JSON["nest deeply"], content, 0) == b'{"a": %s%s}' % (b"[" * DEPTH, b"]" * DEPTH)
    assert b'"a": 1, "a":' in draw(JSON["repeat a key"], content, 0)


def test_records_keep_their_checksums():
    content = make_files(FORMATS["rlds"].make, 0)["libero_spatial-train.tfrecord-00000-of-00002"]
    assert write_framed(read_framed(content)) == content


def test_a_bomb_is_a_small_archive():
    assert len(bomb()) < BOMB_BYTES // 100


def test_archives_and_arrays_are_read_back():
    content = make_files(FORMATS["recorded-actions"].make, 0)["recorded.npz"]
    members, _ = read_members(content)
    assert {name: load_array(each).shape[1:] for name, each in members} == {
        "actions.npy": (7,),
        "lengths.npy": (),
    }


@dataclasses.dataclass
class Pair:
    left: object
    right: object


ALIKE = [1, 1.0, True, "1", b"1", None, [1], {"1": 1}, {1: 1}, float("nan"), -0.0, 0.0]
ARRAYS = [np.zeros(2), np.zeros((2, 1)), np.zeros(2, np.float32), jnp.zeros(2, jnp.bfloat16)]


def test_fingerprints_tell_all_content_apart():
    contents = [*ALIKE, *ARRAYS, Pair(1, 2), Pair(2, 1), ["ab", "c"], ["a", "bc"], [["ab"], "c"]]
    assert len({fingerprint(each) for each in contents}) == len(contents)
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


def test_fingerprints_of_unknown_things_are_refused():
    with pytest.raises(TypeError, match="fingerprint of a object"):
        fingerprint([object()])
