"""Scaling: what is read off compiled steps, efficiencies, and what does not fit."""

import dataclasses
import importlib.util
import json

import jax
import jax.numpy as jnp
import pytest

from eval import scaling
from eval.benchmarks.device_peaks import PEAKS, Cost
from eval.benchmarks.topologies import devices_of
from eval.studies.scaling import steps, table
from eval.studies.scaling.matmuls import matmul_flops
from eval.studies.scaling.steps import Compiled, Step
from rfsq_jax.parallel.sharding import batch_sharding, make_mesh

ROW = table.Row(
    step="train",
    topology="v5e:2x2",
    device_kind="TPU v5 lite",
    chips=4,
    group=1,
    rows=400,
    memory=10**9,
    memory_there=16e9,
    collectives={"all-reduce": 2},
    sent=9e7,
    computing=0.008,
    sending=0.002,
    limit=0.004,
)


def add_up(mesh, rows):
    """A step whose gradient is summed over all chips."""
    split = batch_sharding(mesh)
    function = jax.jit(lambda x: (x.T @ x).sum(axis=0), in_shardings=split)
    x = jax.ShapeDtypeStruct((rows, 16), jnp.float32)
    return Compiled(function.lower(x).compile(), Cost(2.0 * rows * 256, 0.0), rows)


def test_products_are_counted_in_loops_and_functions():
    def function(x, w):
        def one(carry, _):
            return jnp.tanh(jax.jit(jnp.matmul)(carry, w)), None

        return jax.lax.scan(one, x, None, length=5)[0] @ w

    shapes = jax.ShapeDtypeStruct((3, 8), jnp.float32), jax.ShapeDtypeStruct((8, 8), jnp.float32)
    assert matmul_flops(function, *shapes) == 6 * 2 * 3 * 8 * 8


def test_efficiency_is_the_rate_per_chip_over_that_of_the_fewest():
    more = dataclasses.replace(ROW, chips=8, rows=800, sending=0.010)
    other = dataclasses.replace(more, device_kind="TPU v5", chips=2, rows=1000)
    rows = [more, ROW, other]
    assert table.efficiency(ROW, rows) == 1.0
    assert table.efficiency(more, rows) == pytest.approx(0.010 / 0.018)
    assert table.efficiency(other, rows) == 1.0
    assert ROW.of_limit == pytest.approx(0.4)
    text = table.markdown(rows)
    assert (
        "| train | v5e:2x2 | 4 | 1 | 400 | 1.00 | 16 | 2 all-reduce | 90 | 8 | 2 | 1e+04 |" in text
    )
    assert "| 56 % |" in text


@pytest.fixture
def on_cpus(monkeypatch):
    """A pod of CPU devices, and one step for it; returns what sets the memory of a device."""
    kind, like = jax.devices()[0].device_kind, PEAKS["TPU v5 lite"]
    # A CPU's compiler estimates no cycles.
    monkeypatch.setattr(type(like), "seconds", lambda self, cycles: 1e-3)
    monkeypatch.setattr(scaling, "devices_of", lambda name: jax.devices()[: int(name)])
    monkeypatch.setattr(scaling, "STEPS", (Step(scaling.NAMES[0], 8, lambda peak: 1, add_up),))

    def with_memory(size):
        monkeypatch.setitem(PEAKS, kind, dataclasses.replace(like, memory=size))

    return with_memory


def test_the_command_writes_a_table_and_a_picture(on_cpus, tmp_path, capsys):
    on_cpus(1e9)
    assert scaling.main(["--topologies", "2", "8", "--output", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "results.json").read_text())["figures"]["rows"]
    assert [(row["chips"], row["rows"]) for row in rows] == [(2, 16), (8, 64)]
    assert all(row["collectives"] == {"all-reduce": 1} for row in rows)
    assert rows[1]["sent"] == pytest.approx(rows[0]["sent"] * (7 / 8) / (1 / 2))
    assert (tmp_path / "table.md").read_text() in capsys.readouterr().out
    assert (tmp_path / "scaling.png").stat().st_size > 1000


def test_a_step_that_does_not_fit_is_an_error(on_cpus, tmp_path, capsys):
    on_cpus(10.0)
    assert scaling.main(["--topologies", "2", "--output", str(tmp_path)]) == 1
    assert "eval.scaling: train.ae, robust on 2 takes 0.0 GB of 0.0 GB" in capsys.readouterr().out


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_the_compiler_of_tpus_answers():
    mesh = make_mesh(devices=devices_of("v5e:2x2"))
    row = table.measured("train.ae", "v5e:2x2", mesh, steps.train_autoencoder(mesh, 1024))
    assert row.computing > row.limit > 0
    assert row.collectives["all-reduce"] >= 1
    assert 0 < row.memory < row.memory_there
