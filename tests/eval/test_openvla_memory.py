"""Loading is measured on a tiny checkpoint, whose files take no disk."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from eval import openvla_memory
from eval.benchmarks.openvla import memory
from rfsq_jax.backbones.openvla.checkpoint import load
from rfsq_jax.backbones.openvla.config import TINY
from rfsq_jax.runs.json_files import read_json
from tests.support.commands import refusal
from tests.support.processes import wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    checkpoint = tmp_path / "sparse"
    checkpoint.mkdir()
    memory.write_sparse(checkpoint, TINY)
    return checkpoint


def test_sparse_files_are_a_whole_checkpoint(folder: Path) -> None:
    config, params = load(folder)
    assert config == TINY
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {"bfloat16"}
    shards = [path.stat() for path in folder.glob("*.safetensors")]
    assert sum(each.st_size for each in shards) > sum(x.nbytes for x in jax.tree.leaves(params))
    # Only the headers were written.
    assert sum(512 * each.st_blocks for each in shards) < 50_000


def test_shards_are_cut(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SHARD_BYTES", 50_000)
    memory.write_sparse(folder, TINY)
    assert len(list(folder.glob("*.safetensors"))) > 2
    assert load(folder)[0] == TINY


def test_what_is_held_is_sampled() -> None:
    with memory.sampled_peak() as peak:
        before = peak[0]
        held = np.ones(2**24)
        during = memory.held_bytes()
        wait_until(lambda: peak[0] >= during)
        del held
    assert peak[0] >= during >= before + 2**26


def test_the_command_measures(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--checkpoint", str(folder), "--output", str(tmp_path / "run")]
    assert openvla_memory.main(options) == 0
    figures = read_json(tmp_path / "run" / "results.json")["figures"]
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(load(folder)[1]))
    assert figures["parameter_bytes"] == size
    assert 0 < figures["peak_bytes"] - figures["bytes_before"] < 2**30
    assert "above them" in capsys.readouterr().out


def test_what_is_no_checkpoint_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--checkpoint", str(tmp_path), "--output", str(tmp_path / "run")]
    assert "is missing" in refusal(openvla_memory.main, options, capsys)


def test_a_depth_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        openvla_memory.MemoryConfig(depth=0)
