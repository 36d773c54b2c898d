"""Reading compiled programs: by hand-made text, and by a tiny model on eight CPU devices."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from eval import openvla_topologies
from eval.benchmarks.compiled.hlo import group_size, read_program, ring_bytes, trip_count
from eval.benchmarks.device_peaks import PEAKS, Cost
from eval.benchmarks.openvla.programs import chunk, first_token
from eval.benchmarks.openvla.topologies import compile_for
from eval.openvla_topologies import time_figures
from rfsq_jax.backbones.openvla.config import TINY, TINY_OFT, OpenVLAConfig
from rfsq_jax.parallel.sharding import make_mesh
from tests.support.commands import refusal

NESTED = """
HloModule made_up

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%a, %b)
}

%all-reduce-scatter.1 (x: bf16[8,16]) -> bf16[8,4] {
  %r = bf16[8,16]{1,0} all-reduce(%x), replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_1'}, to_apply=%add
  ROOT %slice = bf16[8,4]{1,0} dynamic-slice(%r, %i)
}

%inner_body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %g = f32[4]{0} all-gather(%y), replica_groups=[2,4]<=[8], dimensions={0}
}

%inner_condition (p: (s32[], f32[4])) -> pred[] {
  %bound = s32[]{:T(128)} constant(5)
  ROOT %less = pred[] compare(%count, %bound), direction=LT
}

%outer_body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %w = (s32[], f32[4]) while(%t), condition=%inner_condition, body=%inner_body
  %f = bf16[8,4]{1,0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.1
  %z = f32[4]{0} fusion(%q), kind=kLoop, calls=%add, backend_config={"window_config":{"estimated_cycles":"100"}}
}

%outer_condition (p: (s32[], f32[4])) -> pred[] {
  ROOT %less = pred[] fusion(%p), kind=kLoop, calls=%compare_to_ten
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %w = (s32[], f32[4]) while(%t), condition=%outer_condition, body=%outer_body, backend_config={"known_trip_count":{"n":"3"}}
  %s = (f32[8,2]{1,0}, f32[8,2]{1,0}, u32[]) collective-permute-start(%x), source_target_pairs={{0,1}}
  %d = f32[8,2]{1,0} collective-permute-done(%s)
  ROOT %z = f32[4]{0} copy(%d), backend_config={"estimated_cycles":"7"}
}
"""  # noqa: E501


def test_loops_within_loops_are_counted_out():
    program = read_program(NESTED, 8)
    assert program.collectives == {
        "all-gather": 15,
        "collective-permute": 1,
        "reduce-scatter": 3,
    }
    assert program.cycles == 3 * 100 + 7
    gathered, scattered, sent = 15 * 16 * 3 / 4, 3 * (8 * 16 * 2) * 3 / 4, 8 * 2 * 4
    assert program.sent_by_kind == {
        "all-gather": gathered,
        "collective-permute": sent,
        "reduce-scatter": scattered,
    }
    assert program.sent == gathered + scattered + sent
    assert program.rounds == {2: 1, 4: 15 + 3}
    assert program.unknown == 0


BESIDE = """
HloModule made_up

%begin (x: bf16[4]) -> (bf16[4], bf16[8]) {
  %all-gather.1 = bf16[8]{0} all-gather(%x), channel_id=3, replica_groups=[4,2]<=[8], dimensions={0}
}

%async_collective_fusion.7 (x: bf16[4]) -> bf16[8] {
  %all-gather.2 = bf16[8]{0} all-gather(%x), channel_id=3, replica_groups=[4,2]<=[8], dimensions={0}
}

%end (x: bf16[4]) -> bf16[8] {
  ROOT %all-gather.3 = bf16[8]{0} all-gather(%x), channel_id=3, replica_groups=[4,2]<=[8], dimensions={0}
}

ENTRY %main (x: bf16[4]) -> bf16[8] {
  %async-collective-start = (bf16[4], bf16[8]) fusion(%x), kind=kCustom, calls=%begin
  %fusion.7 = bf16[8]{0} fusion(%x), kind=kOutput, calls=%async_collective_fusion.7, backend_config={"estimated_cycles":"50"}
  %copy = bf16[8]{0} copy(%x), backend_config={"estimated_cycles":"9223372036854775807"}
  ROOT %async-collective-done = bf16[8]{0} fusion(%fusion.7), kind=kCustom, calls=%end
}
"""  # noqa: E501


def test_a_collective_beside_products_is_one():
    program = read_program(BESIDE, 8)
    assert program.collectives == {"all-gather": 1}
    assert program.sent == 8 * 2 / 2
    assert (program.cycles, program.unknown) == (50, 1)


def test_a_loop_without_a_bound_is_refused():
    with pytest.raises(ValueError, match="one bound"):
        trip_count(" while(%t), condition=%c, body=%b", {"c": [], "b": []})
    with pytest.raises(ValueError, match="ENTRY"):
        read_program("HloModule empty", 1)


def test_an_all_reduce_sends_what_scattering_and_gathering_send():
    full, chips = 1600, 8
    pieces = ring_bytes("reduce-scatter", full // chips, chips) + ring_bytes(
        "all-gather", full, chips
    )
    assert ring_bytes("all-reduce", full, chips) == pieces == 2 * full * 7 / 8


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("replica_groups={{0,1,2},{3,4,5}}", 3),
        ("replica_groups=[4,2]<=[8]", 2),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", 2),
        ("replica_groups=mesh['axis_0'=2,'axis_1'=1,'axis_2'=4] {'axis_0','axis_2'}", 8),
        (
            "replica_groups=mesh['axis_0'=4,'axis_1'=1,'axis_2'=2], "
            "device_ids=([2,4]T(1,0)) {'axis_0'}",
            4,
        ),
        ("replica_groups={}", 16),
        ("source_target_pairs={{0,1}}", 16),
    ],
)
def test_groups_of_a_collective(groups, size):
    assert group_size(f"%r = f32[4] all-reduce(%x), {groups}, to_apply=%add", 16) == size


def test_groups_that_nobody_knows_are_no_guess():
    with pytest.raises(ValueError, match="groups of a collective"):
        group_size("%r = f32[4] all-reduce(%x), replica_groups=all, to_apply=%add", 16)


def compiled_counts(config: OpenVLAConfig) -> dict[str, int]:
    mesh = make_mesh(data=4, tensor=2)
    function = chunk if config.oft else first_token
    text = compile_for(mesh, config, 1, function, 9, 4, {}, jnp.float32).as_text()
    return read_program(text, mesh.size).collectives


@pytest.mark.parametrize("config", [TINY_OFT, TINY], ids=["oft", "base"])
def test_every_layer_sums_over_the_tensor_axis_twice(config):
    deeper = dataclasses.replace(config, llama=dataclasses.replace(config.llama, depth=5))
    few, many = compiled_counts(config), compiled_counts(deeper)
    assert many["all-reduce"] - few["all-reduce"] == 2 * (5 - 3)
    assert few["all-reduce"] >= 2 * (3 + 3 + 4)


def test_a_sum_over_chips_is_one_collective():
    mesh = make_mesh(data=8)
    spec = NamedSharding(mesh, PartitionSpec("data"))
    x = jax.ShapeDtypeStruct((8, 4), jnp.float32, sharding=spec)
    text = jax.jit(lambda x: x.sum(0)).lower(x).compile().as_text() or ""
    assert read_program(text, 8).collectives == {"all-reduce": 1}


def test_the_command_writes_a_table(tmp_path, monkeypatch, capsys):
    models = {"tiny": (TINY_OFT, 2, chunk), "tiny base": (TINY, 1, first_token)}
    monkeypatch.setattr(openvla_topologies, "MODELS", models)
    monkeypatch.setattr(openvla_topologies, "devices_of", lambda name: jax.devices()[:8])
    options = ["--topologies", "here", "--data", "4", "--batch", "4", "--output", str(tmp_path)]
    assert openvla_topologies.main(options) == 0
    rows: list[dict[str, Any]]
    rows = json.loads((tmp_path / "results.json").read_text())["figures"]["rows"]
    assert [row["model"] for row in rows] == list(models)
    assert all(row["chips"] == 8 and row["argument_bytes"] > 0 for row in rows)
    assert all(row["mesh"] == {"data": 4, "fsdp": 1, "tensor": 2} for row in rows)
    table = (tmp_path / "table.md").read_text()
    assert table.count("\n") == 4
    assert table in capsys.readouterr().out


def test_time_is_computing_and_sending():
    kind, chips = "TPU v5 lite", 4
    peak = PEAKS[kind]
    assert peak.ring is not None
    figures = time_figures(kind, 10**6, peak.ring, [Cost(peak.flops, 0)], chips)
    assert figures["sending_seconds"] == 1
    assert figures["computing_seconds"] == pytest.approx(peak.seconds(10**6))
    total = 1 + peak.seconds(10**6)
    assert figures["fraction_of_limit"] == pytest.approx(1 / chips / total)
    assert time_figures("cpu", 1, 1.0, [], 1) == {}


def test_batches_must_split():
    with pytest.raises(ValueError, match="multiple of data"):
        openvla_topologies.TopologiesConfig(data=4, batch=2)
    with pytest.raises(ValueError, match="data must be 1 with a sequence"):
        openvla_topologies.TopologiesConfig(data=2, batch=2, sequence=2)


def test_tokens_are_split_over_groups(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(openvla_topologies, "MODELS", {"tiny": (TINY_OFT, 2, chunk)})
    monkeypatch.setattr(openvla_topologies, "SPREAD_OPTIONS", {})
    monkeypatch.setattr(openvla_topologies, "devices_of", lambda name: jax.devices()[:4])
    options = ["--topologies", "here", "--sequence", "2", "--layers", "unrolled"]
    assert openvla_topologies.main([*options, "--output", str(tmp_path)]) == 0
    (row,) = json.loads((tmp_path / "results.json").read_text())["figures"]["rows"]
    assert row["mesh"] == {"data": 1, "fsdp": 1, "sequence": 2, "tensor": 2}
    assert row["bytes_sent"] > 0
    line = refusal(openvla_topologies.main, [*options[:3], "3", "--output", str(tmp_path)], capsys)
    assert "sequence must be a divisor of the 4 devices" in line
