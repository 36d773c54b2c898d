"""What a frozen backbone is: pictures, an instruction and the robot's state in, feature tokens out.

A backbone has two named depths. `early` runs its first part; `late` goes on from there. A policy
whose draft head is sure of itself never calls `late`.

Axes: B batch · C cameras · H, W image · S feature tokens · E width.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8

from rfsq_jax.data.observations import Observations
from rfsq_jax.runs.checks import MAX_SIZE, require_choice, require_known, require_range
from rfsq_jax.runs.records import require_types

EARLY = "early"
FINAL = "final"
DEPTHS = (EARLY, FINAL)

Params = Any
"""A frozen pytree of arrays."""

Inputs = dict[str, Any]
"""Arrays with a leading batch axis, made on the host by `Backbone.prepare`."""

Carry = Any
"""What `late` needs of `early`: arrays with a leading batch axis."""

MAX_FEATURES = 2**20
"""Numbers in one feature token: that of a patch of stacked cells may be wide."""

BackboneOption = bool | int | str
"""A value on a command line or in a file."""

AnyOptions = TypeVar("AnyOptions", bound="BackboneOptions")


@dataclasses.dataclass(frozen=True)
class Depth:
    """The features at one depth.

    Attributes:
      tokens: S.
      width: E.
      image_tokens: how many of the S tokens, counted from the first, show pictures; the rest come
        from the instruction and the state. A blind control zeroes the former.
    """

    tokens: int
    width: int
    image_tokens: int

    def __post_init__(self) -> None:
        require_types(self)
        require_range(self, 1, MAX_SIZE, "tokens")
        require_range(self, 1, MAX_FEATURES, "width")
        require_range(self, 0, self.tokens, "image_tokens")


@dataclasses.dataclass(frozen=True)
class BackboneSpec:
    """What a head may rely on.

    Attributes:
      name: what `get_backbone` knows it by.
      version: 16 hex digits over architecture, preprocessing and weights; features of another
        version are refused.
      cameras: how many pictures it sees, in the order of `libero.environment.POLICY_CAMERAS`.
      image_size: height and width, in pixels, that the simulator should render.
      preprocessing: in words.
      depths: tokens and width by name of the depth, see `DEPTHS`.
      blind: whether its images are blanked: a control that tells what can be done without looking.
    """

    name: str
    version: str
    cameras: int
    image_size: int
    preprocessing: str
    depths: Mapping[str, Depth]
    blind: bool = False


@dataclasses.dataclass(frozen=True)
class BackboneOptions:
    """What every backbone's options answer; its own options are the fields of a subclass."""

    @classmethod
    def of(cls: type[AnyOptions], options: Mapping[str, Any]) -> AnyOptions:
        """From names and values.

        Raises:
          ValueError: for an option that does not exist, with a suggestion, or a bad value.
        """
        require_known(options, [field.name for field in dataclasses.fields(cls)], "option")
        return cls(**options)

    @property
    def wants_jpeg_files(self) -> bool:
        """Whether images must be stored JPEG files, which are decoded as in its training."""
        return False

    def require_camera_images(self) -> None:
        """Raises a ValueError if images of a simulator or a camera cannot be used."""

    def kept(self, given: Mapping[str, BackboneOption]) -> dict[str, BackboneOption]:
        """Of the options of a training, those that a policy keeps: it will see other images."""
        return dict(given)


class Backbone(abc.ABC):
    """A frozen feature extractor. Deterministic; all functions are safe to call from threads.

    Attributes:
      spec: shapes, preprocessing and version.
      params: the frozen weights, apart, so that a caller places or donates them as it likes.
    """

    params: Params

    def __init__(self, spec: BackboneSpec) -> None:
        self.spec = spec
        self._run = {
            EARLY: jax.jit(lambda params, inputs: self.early(params, inputs)[0]),
            FINAL: jax.jit(lambda params, inputs: self.late(params, self.early(params, inputs)[1])),
        }

    @abc.abstractmethod
    def prepare(self, observations: Observations) -> Inputs:
        """Checks the inputs and turns them into arrays; runs on the host.

        Raises:
          TypeError: for a wrong dtype.
          ValueError: for a wrong shape, an empty or too long instruction, or NaN in the state.
        """

    @abc.abstractmethod
    def early(self, params: Params, inputs: Inputs) -> tuple[Float[Array, "b s e"], Carry]:
        """The first part: early features, and what `late` goes on with. Pure, for jit."""

    @abc.abstractmethod
    def late(self, params: Params, carry: Carry) -> Float[Array, "b s e"]:
        """The rest: final features. Pure, for jit."""

    def embed(
        self,
        images: UInt8[np.ndarray, "b c h w 3"],
        instructions: Sequence[str],
        state: Float[np.ndarray, "b 8"],
        depth: str = FINAL,
    ) -> Float[Array, "b s e"]:
        """Features at a depth: prepares and runs, jitted, up to `depth`.

        Raises:
          TypeError, ValueError: as `prepare`; also for a depth that does not exist.
        """
        require_depth(depth)
        inputs = self.prepare(Observations(images, instructions, state))
        return self._run[depth](self.params, inputs)


def require_depth(depth: str) -> None:
    """Raises a ValueError unless `depth` is one of `DEPTHS`."""
    require_choice(depth, DEPTHS, "depth")
