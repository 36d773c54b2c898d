"""An Orbax copy is the checkpoint: the same numbers, the same version, in another form."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch")

from rfsq_jax.backbones.openvla import orbax_copy
from rfsq_jax.backbones.openvla.checkpoint import detect, load, version_of
from rfsq_jax.backbones.openvla.config import OFTConfig, OpenVLAConfig
from rfsq_jax.backbones.openvla.convert import convert, main
from rfsq_jax.backbones.openvla.layout import RULES
from rfsq_jax.parallel.sharding import make_mesh, tree_shardings
from tests.support.commands import refusal
from tests.support.descriptions import change
from tests.support.openvla_checkpoints import TINY, TINY_OFT, write_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("published") / "oft", TINY_OFT)


@pytest.fixture(scope="module")
def copy(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("converted") / "oft"
    convert(folder, output)
    return output


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_copy_loads_the_same_numbers(folder: Path, copy: Path, dtype: Any) -> None:
    mesh = make_mesh(data=2, fsdp=2, tensor=2)
    (config, theirs), (_, ours) = (load(each, None, mesh, dtype) for each in (folder, copy))
    assert config == detect(copy) == TINY_OFT
    shardings = tree_shardings(ours, mesh, RULES)
    assert jax.tree.map(lambda leaf: leaf.sharding, ours) == shardings
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert {leaf.dtype for leaf in jax.tree.leaves(ours)} == {jnp.dtype(dtype)}


def test_a_copy_has_the_version_of_what_it_was_made_of(
    folder: Path, copy: Path, tmp_path: Path
) -> None:
    versions = [version_of(each, TINY_OFT, {"x": 1}) for each in (folder, copy)]
    assert versions[0] == versions[1]
    other = write_checkpoint(tmp_path / "other", TINY_OFT, seed=1)
    convert(other, tmp_path / "copy")
    assert version_of(tmp_path / "copy", TINY_OFT, {"x": 1}) != versions[0]


def test_a_copy_needs_nothing_of_what_it_was_made_of(copy: Path, folder: Path) -> None:
    names = {path.name for path in copy.iterdir()}
    small = {"config.json", "dataset_statistics.json", "tokenizer.json"}
    assert names == small | {orbax_copy.FILE, orbax_copy.ARRAYS}
    for name in small:
        assert (copy / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("oft", [None, OFTConfig(proprio=False)])
def test_copies_know_their_parts(tmp_path: Path, oft: Any) -> None:
    config = dataclasses.replace(TINY, oft=oft)
    convert(write_checkpoint(tmp_path / "from", config), tmp_path / "to")
    assert detect(tmp_path / "to") == config


def test_the_command_prints_bytes_and_seconds(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--checkpoint", str(folder), "--output", str(tmp_path / "copy")]
    assert main(options) == 0
    said = re.search(r"copy: ([\d,]+) bytes in [\d.]+ s", capsys.readouterr().out)
    assert said
    leaves = jax.tree.leaves(load(tmp_path / "copy")[1])
    numbers = 4 * sum(leaf.size for leaf in leaves)
    # What Orbax notes about each array is most of a small one's file.
    assert numbers < int(said[1].replace(",", "")) < numbers + 2**15 * len(leaves)
    assert "output must not exist" in refusal(main, options, capsys)
    again = ["--checkpoint", str(tmp_path / "copy"), "--output", str(tmp_path / "again")]
    assert "must be as published, got a copy" in refusal(main, again, capsys)


def test_a_copy_is_whole_or_absent(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("rfsq_jax.backbones.openvla.convert.write_origin", fail)
    with pytest.raises(OSError, match="disk full"):
        convert(folder, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_arrays_of_another_config_are_named(copy: Path) -> None:
    llama = dataclasses.replace(TINY.llama, depth=2)
    config: OpenVLAConfig = dataclasses.replace(TINY, llama=llama)
    message = r"head/fc1/kernel expected nothing, got .*llm/layers/q/kernel expected \(2, 32, 32\)"
    with pytest.raises(ValueError, match=message):
        load(copy, config)


def test_damaged_copies_are_named(copy: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(copy, tmp_path / "copy")
    for path in (copy / orbax_copy.ARRAYS).rglob("*"):
        if path.is_file() and path.stat().st_size > 2**16:
            path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ValueError, match=r"parameters is damaged: .* must have \d+ bytes, got \d+"):
        load(copy)
    note = copy / orbax_copy.FILE
    note.write_text(json.dumps(json.loads(note.read_text()) | {"format_version": 99}))
    with pytest.raises(ValueError, match="format version 99"):
        load(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": 3}, "weights must be a valid string, got 3"),
        ({"weights": "../else"}, "weights must be a sha256"),
        ({"files": []}, r"files must be an object, got \[\]"),
        ({"files": {"a": "1"}}, "files.a must be a valid integer, got '1'"),
        ({"files": {"a": -1}}, "files: a must be a number of bytes, got -1"),
        ({"files": {}}, "files must be a table of sizes"),
        ({"oft": {"horizons": 8}}, "oft.horizons is unknown"),
        ({"oft": 1}, "oft must be an object, got 1"),
        ({"other": 1}, "other is unknown"),
        (
            {"oft": {**dataclasses.asdict(OFTConfig()), "horizon": 8.5}},
            "oft.horizon must be a valid integer",
        ),
        (
            {"oft": {**dataclasses.asdict(OFTConfig()), "proprio": 1}},
            "oft.proprio must be a valid boolean",
        ),
        (
            {"oft": {**dataclasses.asdict(OFTConfig()), "horizon": -1}},
            "horizon must be at least 1",
        ),
    ],
)
def test_an_origin_that_is_none_is_named(tmp_path: Path, changes: Any, message: str) -> None:
    origin = orbax_copy.Origin("0" * 64, TINY_OFT.oft, {"a": 1})
    orbax_copy.write_origin(tmp_path, origin)
    path = tmp_path / orbax_copy.FILE
    assert orbax_copy.read_origin(tmp_path) == origin
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=r"parameters\.json is damaged: its sha256"):
        orbax_copy.read_origin(tmp_path)
    orbax_copy.write_origin(tmp_path, origin)
    change(path, **changes)
    with pytest.raises(ValueError, match=rf"parameters\.json.*{message}"):
        orbax_copy.read_origin(tmp_path)


def test_damaged_metadata_of_arrays_are_named(copy: Path, tmp_path: Path) -> None:
    """Of the same size, so that only reading tells."""
    copy = shutil.copytree(copy, tmp_path / "copy")
    for path in (copy / orbax_copy.ARRAYS).rglob("*"):
        if path.is_file() and path.stat().st_size <= 2**16:
            path.write_bytes(b"[" * path.stat().st_size)
    with pytest.raises(ValueError, match=r"parameters is damaged: .+"):
        load(copy)
