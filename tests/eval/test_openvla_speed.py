"""The timing of OpenVLA at its smallest, and the fairness of its opponent."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eval import openvla_speed
from eval.benchmarks.device_peaks import Cost, Peak
from eval.benchmarks.openvla.cost import cost_parts, passes
from eval.benchmarks.openvla.programs import chunk
from eval.benchmarks.openvla.report import part_figures
from rfsq_jax.backbones.openvla import model
from rfsq_jax.backbones.openvla.checkpoint import load
from rfsq_jax.backbones.openvla.config import TINY, TINY_OFT, OFTConfig, OpenVLAConfig

PACKAGES = ("torch", "timm", "transformers")
needs_torch = pytest.mark.skipif(
    any(importlib.util.find_spec(each) is None for each in PACKAGES),
    reason="needs torch, timm and transformers",
)
SMALLEST = ["--size", "tiny", "--rounds", "1", "--calls", "1", "--prompt", "9"]
PEAK = Peak(flops=1e15, bandwidth=1e12, memory=1e9)


def run(folder: Any, *options: str) -> dict[str, Any]:
    assert openvla_speed.main([*SMALLEST, "--output", str(folder), *options]) == 0
    return json.loads((folder / "results.json").read_text())["figures"]


@pytest.mark.parametrize(
    ("name", "config", "layers"),
    [
        ("oft", TINY_OFT, "unrolled"),
        pytest.param("base", TINY, "scanned", marks=pytest.mark.slow),
    ],
)
def test_the_command_times_the_whole_and_the_parts(
    tmp_path, monkeypatch, capsys, name, config, layers
):
    monkeypatch.setattr(openvla_speed, "device_peak", lambda dtype: PEAK)
    options = ["--torch-mode", "off", "--images", "1", "--models", name, "--layers", layers]
    figures = run(tmp_path, *options)
    assert figures.keys() == {name}
    parts, expected = figures[name]["parts"], cost_parts(config, 1, 9)
    assert parts.keys() == {"whole", *expected}
    assert all(each["seconds"]["median"] > 0 for each in parts.values())
    assert all(parts[part]["flops"] == cost.flops for part, cost in expected.items())
    whole = parts["whole"]
    assert whole["flops"] == sum(cost.flops for cost in passes(expected))
    assert whole["mfu"] == pytest.approx(whole["flops_per_second"] / PEAK.flops)
    assert figures[name]["layers"] == layers
    assert figures[name]["memory"]["argument_bytes"] > expected["vision"].bytes
    assert figures[name]["positions"] == 16 + 9 + (57 + 1 if config.oft else 0)
    assert "tokens/s" in capsys.readouterr().out


@needs_torch
def test_the_command_compares_with_pytorch(tmp_path, capsys):
    figures = run(tmp_path, "--models", "oft", "--torch-mode", "eager", "--batch", "2")
    torch, whole = figures["oft"]["torch"], figures["oft"]["parts"]["whole"]
    assert torch["device"] == "cpu"
    expected = torch["seconds"]["median"] / whole["seconds"]["median"]
    assert torch["time_over_ours"]["median"] == pytest.approx(expected)
    assert "PyTorch takes" in capsys.readouterr().out


@needs_torch
@pytest.mark.parametrize(
    "config", [TINY_OFT, dataclasses.replace(TINY, oft=OFTConfig(proprio=False)), TINY]
)
def test_pytorch_computes_the_same(config: OpenVLAConfig, tmp_path):
    import torch

    from eval.benchmarks.openvla.torch_model import make
    from eval.benchmarks.openvla.torch_timing import base_runner, oft_runner
    from tests.support.openvla_folders import write_folder

    theirs = make(config, torch.float32)
    randomize(theirs)
    write_folder(tmp_path, published(theirs.state_dict()))
    params = load(tmp_path, config, dtype=jnp.float32)[1]
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(2, 2 if config.oft else 1, 56, 56, 6)).astype(np.float32)
    prompt = rng.integers(3, 99, (2, 9))
    state = [rng.uniform(-1, 1, (2, 8)).astype(np.float32)] if config is TINY_OFT else []
    ours = [jnp.asarray(each) for each in (pixels, prompt, np.full(2, 9), *state)]
    inputs = [torch.from_numpy(each) for each in (pixels.transpose(0, 1, 4, 2, 3), prompt, *state)]
    with torch.inference_mode():
        if config.oft is None:
            run = base_runner(theirs, "eager", 2, torch.float32)
            run(*inputs)
            # The second time on the first one's cache.
            expected = run(*inputs).numpy()
            np.testing.assert_array_equal(model.decode(params, config, *ours), expected)
            assert len(np.unique(expected)) > 3
        else:
            expected = oft_runner(theirs, "eager")(*inputs).numpy()
            got = jax.jit(lambda *inputs: chunk(params, config, *inputs))(*ours)
            np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


def randomize(module: Any) -> None:
    """Draws every parameter anew: initial values near zero would hide errors."""
    import torch

    torch.manual_seed(0)
    for name, value in module.named_parameters():
        noise = 0.2 * torch.randn(value.shape)
        value.copy_(1 + noise if value.ndim == 1 and name.endswith("weight") else noise)


def published(state: dict[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """A state by the files and names of a published checkpoint."""
    tensors: dict[str, dict[str, np.ndarray]] = {"model": {}}
    for key, value in state.items():
        file, _, rest = key.partition(".")
        if file in ("action_head", "proprio_projector"):
            tensors.setdefault(file, {})[rest] = value.numpy()
        else:
            tensors["model"][key.replace(".gamma", ".scale_factor")] = value.numpy()
    return tensors


def test_shares_are_of_the_median_and_of_each_pass():
    costs = [Cost(PEAK.flops, 0), Cost(0, 2 * PEAK.bandwidth)]
    figures = part_figures([4.0, 6.0, 100.0], costs, PEAK)
    assert figures["limit_seconds"] == 3
    assert figures["fraction_of_limit"] == 0.5
    assert figures["mfu"] == pytest.approx(1 / 6)
    assert "mfu" not in part_figures([1.0], costs, None)


@pytest.mark.parametrize("option", ["--batch", "--rounds", "--prompt"])
def test_numbers_below_one_are_refused(option):
    with pytest.raises(SystemExit):
        openvla_speed.main([option, "0"])
