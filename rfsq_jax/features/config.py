"""What one run of train.features is made of."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from rfsq_jax.backbones import backbone_options
from rfsq_jax.backbones.protocol import BackboneOption, BackboneOptions
from rfsq_jax.data.episodes import HORIZON
from rfsq_jax.runs.checks import (
    MAX_SIZE,
    require,
    require_choice,
    require_positive,
    require_range,
    require_seed,
)
from rfsq_jax.runs.records import require_types

FeatureDtype = Literal["float16", "bfloat16"]
Split = Literal["all", "train", "held_out"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeaturesRun:
    """One run of train.features.

    Attributes:
      backbone: name of the frozen backbone.
      checkpoint: folder of its weights, for a backbone that has none of its own.
      backbone_options: further options of that backbone by name, such as early_layer of OpenVLA's.
      suites: whose bundled demonstrations are replayed; their split is that of train.ae, whatever
        else there is.
      demos: more demonstrations to replay: HDF5 files that train.demos wrote, or folders of them.
      images: what to read stored pictures from instead of replaying: HDF5 files, folders of them,
        or RLDS folders in the layout of OpenVLA's LIBERO data.
      episodes: how many, spread evenly over the tasks; None for all.
      split: "train", "held_out" or "all" episodes.
      held_out: share of the episodes of each task that is only measured on.
      seed: of the split.
      stride: steps between the frames of an episode that are used.
      horizon: steps of a chunk; the tokenizer's.
      tokenizer: a bundled name or a folder; gives chunk length and action statistics.
      dtype: of the features on disk.
      batch_size: frames per call of the backbone.
      workers: simulator processes.
      episodes_per_shard: at most; a shard holds one task and is written whole.
      output: the run's folder; the same command resumes what is there.
    """

    backbone: str = "small"
    checkpoint: Path | None = None
    backbone_options: dict[str, BackboneOption] = dataclasses.field(default_factory=dict)
    suites: tuple[str, ...] = ("libero_spatial", "libero_object")
    demos: tuple[Path, ...] = ()
    images: tuple[Path, ...] = ()
    episodes: int | None = 200
    split: Split = "all"
    held_out: float = 0.1
    seed: int = 0
    stride: int = 4
    horizon: int = HORIZON
    tokenizer: str = "libero"
    dtype: FeatureDtype = "float16"
    batch_size: int = 16
    workers: int = 2
    episodes_per_shard: int = 10
    output: Path = Path("runs/features/small")

    def __post_init__(self) -> None:
        require_choice(self.split, Split, "split")
        require_choice(self.dtype, FeatureDtype, "dtype")
        require_types(self)
        require_positive(self, "stride", "batch_size", "workers", "episodes_per_shard")
        require_range(self, 1, MAX_SIZE, "horizon")
        require_seed(self)
        require(bool(self.suites or self.images), "suites", "at least one, or images", self.suites)
        enough = self.episodes is None or self.episodes >= 1
        require(enough, "episodes", "at least 1, or None for all", self.episodes)
        require(0 < self.held_out < 1, "held_out", "in (0, 1)", self.held_out)
        if not self.images or self.demos:
            self.options.require_camera_images()

    @property
    def options(self) -> BackboneOptions:
        """The backbone's options, typed.

        Raises:
          ValueError: for an unknown backbone or option, with a suggestion, or a bad value.
        """
        return backbone_options(self.backbone, self.backbone_options)

    @property
    def as_tensorflow(self) -> bool:
        """Whether stored JPEG is decoded as TensorFlow does, for backbones whose training did."""
        return self.options.wants_jpeg_files

    def identity(self) -> dict[str, Any]:
        """The options that decide what is in the folder.

        Where the backbone's weights lie does not; which they are, its version says.
        """
        options = dataclasses.asdict(self)
        for name in ("output", "workers", "batch_size"):
            options.pop(name)
        return without_defaults(options)


def without_defaults(options: dict[str, Any]) -> dict[str, Any]:
    """Drops the backbone's folder, and its options where there are none, as in older runs."""
    kept = {name: value for name, value in options.items() if name != "checkpoint"}
    if not kept["backbone_options"]:
        kept.pop("backbone_options")
    return kept
