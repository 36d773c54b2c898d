"""Times OpenVLA and OpenVLA-OFT, whole and part by part, against the devices' limits and PyTorch.

    python -m eval.openvla_speed
    python -m eval.openvla_speed --size tiny --rounds 3

Weights are random where no checkpoint is given: no figure depends on their values.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from eval.benchmarks.openvla.cost import cost_parts, sequence_length
from eval.benchmarks.openvla.programs import WHOLE, Program, programs
from eval.benchmarks.openvla.report import (
    PREPROCESS,
    TORCH,
    device_peak,
    memory_figures,
    model_table,
    rates,
    timing_figures,
)
from eval.benchmarks.timing import Work, busy_note, repeated, take_turns
from rfsq_jax.backbones.openvla import images as pictures
from rfsq_jax.backbones.openvla.checkpoint import load
from rfsq_jax.backbones.openvla.config import (
    OPENVLA_7B,
    OPENVLA_OFT_7B,
    TINY,
    TINY_OFT,
    OpenVLAConfig,
)
from rfsq_jax.backbones.openvla.hub import resolve_checkpoint
from rfsq_jax.backbones.openvla.layout import random_params, unstacked
from rfsq_jax.backbones.openvla.model import ACTION_TOKENS
from rfsq_jax.runs.checks import MAX_SIZE, require_positive, require_range
from rfsq_jax.runs.commands import STARTS_AGAIN, command, user_errors
from rfsq_jax.runs.options import parse
from rfsq_jax.runs.records import require_types
from rfsq_jax.runs.results import write_results
from rfsq_jax.runs.terminal import progress_bar

COMMAND = "eval.openvla_speed"
SIZES = {"7b": {"oft": OPENVLA_OFT_7B, "base": OPENVLA_7B}, "tiny": {"oft": TINY_OFT, "base": TINY}}
CAMERA = (256, 256, 3)


@dataclasses.dataclass(frozen=True)
class OpenVLASpeedConfig:
    """What to time, and how long.

    Attributes:
      output: folder of results.json.
      size: the published sizes, or tiny ones.
      checkpoint: folder as published, or its name on the Hugging Face hub; its model is timed.
        By default random weights.
      models: which to time without a checkpoint.
      images: of OFT; the base model sees one.
      batch: samples in a call.
      prompt: tokens.
      dtype: of weights and activations.
      layers: scanned, which compiles fast, or unrolled, which on GPUs spares copies of the
        weights; auto unrolls on GPUs.
      rounds: how often every contestant takes its turn.
      calls: calls in one turn, each waited for.
      torch_mode: how PyTorch runs where it is installed: off, eager, or a mode of torch.compile.
    """

    output: Path = Path("runs/openvla_speed")
    size: Literal["7b", "tiny"] = "7b"
    checkpoint: Path | None = None
    models: tuple[Literal["oft", "base"], ...] = ("oft", "base")
    images: Literal[1, 2] = 2
    batch: int = 1
    prompt: int = 35
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    layers: Literal["auto", "scanned", "unrolled"] = "auto"
    rounds: int = 20
    calls: int = 5
    torch_mode: Literal["off", "eager", "default", "reduce-overhead", "max-autotune"] = (
        "reduce-overhead"
    )

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(self, "rounds", "calls")
        require_range(self, 1, MAX_SIZE, "batch", "prompt")

    @property
    def listed(self) -> bool:
        """Whether layers are unrolled."""
        if self.layers == "auto":
            return jax.default_backend() == "gpu"
        return self.layers == "unrolled"


@command(COMMAND, STARTS_AGAIN)
def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the tables and writes results.json."""
    config = parse(OpenVLASpeedConfig, argv, command=COMMAND, description=__doc__)
    # Or JAX would take most of a GPU's memory, and PyTorch's copy of the model not find room.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    note, figures = busy_note(), {}
    names = ("checkpoint",) if config.checkpoint else config.models
    for name in names:
        with user_errors(COMMAND):
            sizes, params = weights(config, name)
        figures[name] = measure(config, sizes, params, name)
        print(model_table(name, figures[name]), end="\n\n")
    print(note, end="\n" if note else "")
    print(f"figures: {write_results(config.output, figures=figures, config=config)}")
    return 0


def measure(
    config: OpenVLASpeedConfig, sizes: OpenVLAConfig, params: dict[str, Any], name: str
) -> dict[str, Any]:
    """Times one model; returns its figures."""
    images, dtype = config.images if sizes.oft else 1, jnp.dtype(config.dtype)
    shape = (sizes, images, config.prompt, config.batch)
    several = programs(*shape, dtype, config.listed)
    compiled = {part: compile_program(each, params, sizes) for part, each in several.items()}
    contestants: dict[str, Work] = {
        part: repeated(lambda run=run, part=part: run(params, *several[part][1]), config.calls)
        for part, (run, _) in compiled.items()
    }
    if importlib.util.find_spec("simplejpeg"):
        work = preprocessing(images * config.batch, sizes.image_size)
        contestants[PREPROCESS] = repeated(work, config.calls)
    torch: dict[str, Any] = {}
    if device := torch_device(config.torch_mode):
        contestants[TORCH], torch = torch_contestant(config, shape, device)
    with progress_bar(config.rounds, f"timing {name}", "round") as bar:
        seconds = take_turns(contestants, config.rounds, bar.update)
    parts, peak = cost_parts(*shape, dtype.itemsize), device_peak(config.dtype)
    figures = timing_figures(seconds, parts, peak)
    if torch:
        figures["torch"] |= torch
    positions, median = sequence_length(*shape[:3]), figures["parts"][WHOLE]["seconds"]["median"]
    numbers = sizes.oft.slots if sizes.oft else ACTION_TOKENS
    return figures | {
        "device": jax.devices()[0].device_kind,
        "layers": "unrolled" if config.listed else "scanned",
        "images": images,
        "positions": positions,
        "rates": rates(median, config.batch, positions, numbers),
        "compile_seconds": {part: each[1] for part, each in compiled.items()},
        "memory": memory_figures(compiled[WHOLE][0].memory_analysis()),
    }


def weights(config: OpenVLASpeedConfig, name: str) -> tuple[OpenVLAConfig, dict[str, Any]]:
    """The checkpoint's, or random ones, made where they stay."""
    dtype = jnp.dtype(config.dtype)
    if config.checkpoint is None:
        sizes = SIZES[config.size][name]
        params = random_params(sizes, jax.random.key(0), dtype)
    else:
        sizes, params = load(resolve_checkpoint(config.checkpoint), dtype=dtype)
    return sizes, unstacked(params, sizes) if config.listed else params


def compile_program(
    program: Program, params: dict[str, Any], sizes: OpenVLAConfig
) -> tuple[Any, float]:
    """Compiles ahead of the first call; returns the executable, and how long it took."""
    function, inputs = program
    started = time.perf_counter()
    jitted = jax.jit(lambda params, *inputs: function(params, sizes, *inputs))
    compiled = jitted.lower(params, *inputs).compile()
    return compiled, time.perf_counter() - started


def preprocessing(images: int, size: int) -> Callable[[], Any]:
    """What the host does to that many pictures of the simulator."""
    rng = np.random.default_rng(0)
    taken = rng.integers(0, 256, (images, *CAMERA), np.uint8)
    return lambda: [pictures.prepare(pictures.rotate(each), size) for each in taken]


def torch_device(mode: str) -> str | None:
    """PyTorch's name of JAX's accelerator; None if it is not to run, or lacks that or a package."""
    packages = ("torch", "timm", "transformers")
    if mode == "off" or any(importlib.util.find_spec(each) is None for each in packages):
        return None
    import torch  # pyright: ignore[reportMissingImports]  # an optional extra

    names = {"cpu": "cpu", "gpu": "cuda" if torch.cuda.is_available() else None}
    return names.get(jax.default_backend())


def torch_contestant(
    config: OpenVLASpeedConfig, shape: tuple[OpenVLAConfig, int, int, int], device: str
) -> tuple[Work, dict[str, Any]]:
    """The same computation in PyTorch, and what it is; its first call compiles it."""
    from eval.benchmarks.openvla.torch_timing import timed_call

    call = timed_call(*shape, config.dtype, config.torch_mode, device)
    started = time.perf_counter()
    call()
    first = time.perf_counter() - started
    figures = {"device": device, "mode": config.torch_mode, "first_call_seconds": first}
    return repeated(call, config.calls), figures


if __name__ == "__main__":
    sys.exit(main())
