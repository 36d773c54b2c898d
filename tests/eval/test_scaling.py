"""The command on small steps and eight CPU devices, and one small step for a real TPU topology."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import Mesh

from eval import scaling
from eval.benchmarks.compiled.fit import Estimate, ExceededError
from eval.benchmarks.compiled.hlo import read_program
from eval.benchmarks.device_peaks import PEAKS, Peak
from eval.benchmarks.scaling import measuring, openvla_steps
from eval.benchmarks.scaling.measuring import Row, measure, mesh_of
from eval.benchmarks.scaling.openvla_steps import features_step, policy_step, smallest_group
from eval.benchmarks.scaling.report import efficiency, exceeded, markdown
from eval.benchmarks.scaling.step import Step, on_mesh, tree_bytes
from eval.benchmarks.scaling.training_steps import autoencoder_step, heads_step, ordered_step
from rfsq_jax.backbones.openvla.config import TINY_OFT
from rfsq_jax.parallel.sharding import make_mesh
from tests.support.commands import refusal

HERE = ("v1:2x2", "v1:2x4")
CHIP = Peak(1e12, 1e11, 1e9, 1e10, 1000)


def summing_step(mesh: Mesh, batch: int) -> Step:
    """A product and a sum over the chips."""
    x = jax.ShapeDtypeStruct((batch * mesh.size, 16), jnp.float32)
    w = jax.ShapeDtypeStruct((16, 16), jnp.float32)
    arguments = (on_mesh(x, mesh, "data"), on_mesh(w, mesh))
    return Step(jax.jit(lambda x, w: (x @ w).sum(0)), arguments, batch * mesh.size)


@pytest.fixture
def here(monkeypatch):
    """Topologies of CPU devices, and a step that compiles fast."""
    monkeypatch.setitem(PEAKS, "cpu", CHIP)
    monkeypatch.setitem(scaling.STEPS, "heads", summing_step)

    def mesh(topology: str) -> Mesh:
        return make_mesh(devices=jax.devices()[: 4 if topology == HERE[0] else 8])

    for module in (scaling, measuring):
        monkeypatch.setattr(module, "mesh_of", mesh)


def run(output: Path, *options: str) -> int:
    return scaling.main(
        ["--topologies", *HERE, "--steps", "heads", "--output", str(output), *options]
    )


def rows_of(output: Path) -> list[dict[str, Any]]:
    return json.loads((output / "results.json").read_text())["figures"]["rows"]


def test_the_command_writes_a_table_and_a_plot(here, tmp_path, capsys):
    assert run(tmp_path, "--heads", "4") == 0
    small, large = rows_of(tmp_path)
    assert [small["chips"], large["chips"]] == [4, 8]
    assert [small["batch"], large["batch"]] == [16, 32]
    assert large["program"]["collectives"] == {"all-reduce": 1}
    assert large["program"]["rounds"] == {"8": 2}
    # A sum over 2 x 2 chips goes two hops there and two back, one over 2 x 4 chips four and four.
    assert small["estimate"]["waiting"] == pytest.approx(4e-6)
    assert large["estimate"]["waiting"] == pytest.approx(8e-6)
    assert large["estimate"]["limit"] > 0
    assert large["efficiency"] < small["efficiency"] == 1
    table = (tmp_path / "table.md").read_text()
    assert table.count("\n") == 4
    assert table in capsys.readouterr().out
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_compiled_is_not_compiled_again(here, tmp_path, monkeypatch):
    assert run(tmp_path) == 0
    before = rows_of(tmp_path)
    monkeypatch.setattr(measuring, "compile_step", lambda *_: pytest.fail("compiled again"))
    assert run(tmp_path) == 0
    assert rows_of(tmp_path) == before


def test_another_batch_is_another_program(here, tmp_path):
    assert run(tmp_path) == run(tmp_path, "--heads", "8") == 0
    assert len(list((tmp_path / "programs").iterdir())) == 4


def test_too_little_memory_is_told_and_ends_with_code_1(here, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(PEAKS, "cpu", dataclasses.replace(CHIP, memory=1000))
    assert run(tmp_path) == 1
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("eval.")]
    assert line.startswith("eval.scaling: a chip's memory is exceeded by heads on v1:2x2: needs ")
    assert "heads on v1:2x4" in line
    assert "does not fit" in (tmp_path / "table.md").read_text()


def test_a_broken_compiler_is_no_row(here, tmp_path, monkeypatch):
    def broken(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: broken")

    monkeypatch.setattr(measuring, "compile_step", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="broken"):
        run(tmp_path)
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize("topology", ["v5e", "tpu:2x2", "v5e:2by4"])
def test_topologies_must_be_well_formed(topology, tmp_path, capsys):
    line = refusal(scaling.main, ["--topologies", topology, "--output", str(tmp_path)], capsys)
    assert "topologies must be a chip and its axes" in line


def test_steps_must_be_known(tmp_path, capsys):
    line = refusal(scaling.main, ["--steps", "head", "--output", str(tmp_path)], capsys)
    assert "did you mean 'heads'" in line


def row(step: str, chips: int, seconds: float | None, topology: str = "v5e:1x1") -> Row:
    found = None if seconds is None else Estimate(seconds, 0, 0, seconds / 2)
    return Row(step, topology, chips, 2 * chips, 1, 1, 16e9, estimate=found)


def test_efficiency_is_of_samples_per_second_and_chip():
    rows = [row("a", 16, 3.0), row("a", 4, 2.0), row("a", 4, 1.0, "v5p:1"), row("b", 4, 1.0)]
    assert efficiency(rows[0], rows) == pytest.approx(2 / 3)
    assert [efficiency(each, rows) for each in rows[1:]] == [1, 1, 1]
    strong = dataclasses.replace(rows[0], batch=rows[1].batch)
    assert efficiency(strong, rows) == pytest.approx(2 / 3 / 4)


def test_a_step_that_does_not_fit_has_no_efficiency():
    large = dataclasses.replace(row("a", 4, None), exceeded="needs 2 GB of 1 GB")
    rows = [large, row("a", 8, 1.0)]
    assert [efficiency(each, rows) for each in rows] == [None, None]
    assert exceeded(rows) == "a chip's memory is exceeded by a on v5e:1x1: needs 2 GB of 1 GB"
    assert exceeded(rows[1:]) is None
    assert markdown(rows).splitlines()[2].count("|") == markdown(rows).splitlines()[0].count("|")


TRAINING = {"autoencoder": autoencoder_step, "ordered": ordered_step, "heads": heads_step}


@pytest.mark.parametrize("name", TRAINING)
def test_training_steps_lower_for_a_mesh(name):
    step = TRAINING[name](make_mesh(), 2)
    assert step.batch == 16
    assert step.repeats > 1
    assert 0 <= step.looked_up < tree_bytes(step.arguments)
    text = step.function.trace(*step.arguments).lower().as_text()
    assert "data" in text


def test_features_are_made_in_groups_that_share_no_more(monkeypatch):
    monkeypatch.setattr(openvla_steps, "smallest_group", lambda *_: 2)
    few, many = (
        features_step(make_mesh(devices=jax.devices()[:count]), 1, TINY_OFT) for count in (4, 8)
    )
    assert [few.batch, many.batch, few.group, many.group] == [2, 4, 2, 2]
    sums = [
        read_program(step.function.lower(*step.arguments).compile().as_text(), chips)
        for step, chips in ((few, 4), (many, 8))
    ]
    assert sums[0] == sums[1]
    assert max(sums[0].rounds) == 2


def test_a_policy_answers_one_robot_per_group():
    step = policy_step(make_mesh(), 1, TINY_OFT)
    assert (step.batch, step.group) == (2, 4)
    assert step.function.eval_shape(*step.arguments).shape == (2, 8, 7)


def test_a_group_leaves_half_of_the_memory_free(monkeypatch):
    monkeypatch.setitem(PEAKS, "cpu", dataclasses.replace(CHIP, memory=1000))
    mesh = make_mesh()
    groups = [
        smallest_group(jax.ShapeDtypeStruct((size,), jnp.int8), mesh) for size in (500, 501, 1001)
    ]
    assert groups == [1, 2, 4]


NO_COMPILER = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs libtpu, of rfsq-jax[tpu]"
)


@NO_COMPILER
def test_a_small_step_for_a_pod(tmp_path):
    few, many = (
        measure("sum", topology, summing_step, 8, tmp_path) for topology in ("v5e:2x2", "v5e:4x4")
    )
    assert (few.chips, many.chips) == (4, 16)
    for each in (few, many):
        assert each.program is not None
        assert each.program.collectives == {"all-reduce": 1}
        assert each.program.cycles > 0
    share = efficiency(many, [few, many])
    assert share is not None
    assert 0 < share < 1


@NO_COMPILER
def test_the_compiler_refuses_what_is_larger_than_a_chip():
    mesh = mesh_of("v5e:2x2")
    huge = on_mesh(jax.ShapeDtypeStruct((2**33,), jnp.float32), mesh)
    with pytest.raises(ExceededError, match=r"^Ran out of memory .* exceeds available HBM"):
        measuring.compile_step(jax.jit(lambda x: x + 1).lower(huge), 2.0**34)


@NO_COMPILER
def test_topologies_that_nobody_knows(tmp_path, capsys):
    line = refusal(scaling.main, ["--topologies", "v9:2x2", "--output", str(tmp_path)], capsys)
    assert "topologies must be known to libtpu, got 'v9:2x2'" in line
