"""What of a checkpoint becomes features."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from rfsq_jax.backbones.openvla.config import OpenVLAConfig
from rfsq_jax.backbones.openvla.statistics import data_sets
from rfsq_jax.backbones.protocol import BackboneOption, BackboneOptions
from rfsq_jax.runs.canonical import added
from rfsq_jax.runs.checks import MAX_DEPTH, MAX_SIZE, require, require_choice, require_range
from rfsq_jax.runs.records import require_types

Features = Literal["actions", "last"]
Dtype = Literal["bfloat16", "float32"]


@dataclasses.dataclass(frozen=True)
class OpenVLAOptions(BackboneOptions):
    """What of a checkpoint heads are shown, and how it is run.

    Attributes:
      cameras: how many pictures it sees; by default OFT two, the base model one.
      features: "actions", the states of OFT's action slots, its default; or "last", the state at
        the prompt's last token.
      early_layer: layers of the language model before the early features; by default a quarter.
      statistics: the data set whose statistics normalise the state, if the model takes it; may be
        left out where the checkpoint has one.
      blind: whether image tokens are zeros inside: a control that tells what can be done without
        looking. Heads cannot be blinded afterwards, for every feature mixes pictures and words.
      jpeg: whether pictures go through JPEG first, as a simulator's or a camera's must; False where
        they come out of JPEG files, as RLDS's do: train.features then decodes them as in training.
      dtype: of parameters and activations.
      chips: over how many of this host's devices the weights are split.
      replicas: how many such groups of devices share a batch, each with all weights.
    """

    cameras: int | None = None
    features: Features | None = None
    early_layer: int | None = None
    statistics: str | None = None
    blind: bool = False
    jpeg: bool = True
    dtype: Dtype = "bfloat16"
    chips: int = 1
    replicas: int = added(1)

    def __post_init__(self) -> None:
        require_choice(self.dtype, Dtype, "dtype")
        if self.features is not None:
            require_choice(self.features, Features, "features")
        require_types(self)
        require(self.cameras in (None, 1, 2), "cameras", "1 or 2", self.cameras)
        if self.early_layer is not None:
            require_range(self, 1, MAX_DEPTH, "early_layer")
        require_range(self, 1, MAX_SIZE, "chips", "replicas")

    @property
    def wants_jpeg_files(self) -> bool:
        """Whether images come out of JPEG files."""
        return not self.jpeg

    def require_camera_images(self) -> None:
        """Raises a ValueError if images come out of JPEG files."""
        wanted = "without jpeg False: images of a simulator or a camera come out of no JPEG file"
        require(self.jpeg, "backbone_options", wanted, {"jpeg": self.jpeg})

    def kept(self, given: Mapping[str, BackboneOption]) -> dict[str, BackboneOption]:
        """All but where the images of the training came from."""
        return {name: value for name, value in given.items() if name != "jpeg"}

    def resolved(self, config: OpenVLAConfig, folder: Path) -> OpenVLAOptions:
        """The same with nothing left out that has a default.

        Raises:
          ValueError: if an option does not fit the model.
        """
        depth, is_oft = config.llama.depth, config.oft is not None
        early = max(1, depth // 4) if self.early_layer is None else self.early_layer
        require(0 < early < depth, "early_layer", f"in 1..{depth - 1}", early)
        features = self.features or ("actions" if is_oft else "last")
        require(is_oft or features == "last", "features", "last: it has no action slots", features)
        names = data_sets(folder)
        return dataclasses.replace(
            self,
            cameras=self.cameras or (2 if is_oft else 1),
            early_layer=early,
            features=features,
            statistics=self.statistics or (names[0] if len(names) == 1 else None),
        )
