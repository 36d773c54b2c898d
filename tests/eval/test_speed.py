"""The speed command at its smallest, and the fairness of its timing."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from eval import speed
from eval.benchmarks.timing import Spread, ratio, take_turns

TINY = [
    "--rounds",
    "1",
    "--steps",
    "2",
    "--torch-steps",
    "1",
    "--calls",
    "1",
    "--large-batch",
    "64",
]
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"
)


def test_contestants_take_turns_in_reversed_order():
    calls: list[str] = []
    contestants = {name: lambda name=name: calls.append(name) or 1 for name in "ab"}
    seconds = take_turns(contestants, rounds=3)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}


def test_seconds_are_per_unit_of_work(monkeypatch):
    clock = iter([0.0, 10.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    assert take_turns({"a": lambda: 5}, rounds=1) == {"a": [2.0]}


def test_ratios_are_taken_within_a_round():
    assert ratio([2.0, 20.0, 6.0], [1.0, 10.0, 2.0]) == Spread(2.0, 2.0, 3.0)


def test_the_command_writes_its_figures(tmp_path, capsys):
    assert speed.main([*TINY, "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "rfsq_jax robust" in out
    assert "a robust step takes" in out
    figures = json.loads((tmp_path / "results.json").read_text())["figures"]
    seconds = figures["seconds"]
    expected = seconds["training"][speed.ROBUST][0] / seconds["training"][speed.NAIVE][0]
    assert figures["robust_over_naive"]["median"] == pytest.approx(expected)


def test_the_command_does_without_pytorch(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speed, "torch_device", lambda: None)
    assert speed.main([*TINY, "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "PyTorch not installed" in out
    assert "PyTorch robust" not in out


def test_a_costlier_robust_step_fails_the_verdict():
    assert speed.verdict({speed.NAIVE: [1.0], speed.ROBUST: [1.04]}).startswith("pass")
    assert speed.verdict({speed.NAIVE: [1.0], speed.ROBUST: [1.06]}).startswith("FAIL")


@needs_torch
def test_the_pytorch_model_is_the_one_described():
    import torch  # pyright: ignore[reportMissingImports]  # an optional extra

    from eval.benchmarks.torch_reference import ReferenceAutoencoder

    model = ReferenceAutoencoder(robust=True)
    assert sum(p.numel() for p in model.parameters()) == 3095
    latents = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (4, 8, 16)))
    quantized, codes = model.quantize(latents.float())
    assert codes.shape == (4, 8, 16, 8)
    assert float((quantized - latents).square().mean()) < 1e-4 * float(latents.square().mean())


@needs_torch
def test_naive_pytorch_and_ours_choose_the_same_codes():
    import torch  # pyright: ignore[reportMissingImports]  # an optional extra

    from eval.benchmarks.torch_reference import ReferenceAutoencoder
    from rfsq_jax import rfsq

    z = np.random.default_rng(0).uniform(-1, 1, (64, 8, 16)).astype(np.float32)
    config = rfsq.RFSQConfig(conditioning="none")
    ours = np.asarray(rfsq.encode(config, rfsq.init(config), z))
    theirs = ReferenceAutoencoder(robust=False).quantize(torch.from_numpy(z))[1].numpy()
    assert (ours == theirs).mean() > 0.999


@pytest.mark.parametrize("option", ["--rounds", "--steps", "--large-batch"])
def test_numbers_below_one_are_refused(option):
    with pytest.raises(SystemExit):
        speed.main([option, "0"])
