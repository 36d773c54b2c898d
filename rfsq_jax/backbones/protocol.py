"""What a frozen backbone is: pictures, an instruction and the robot's state in, feature tokens out.

A backbone has two named depths. `early` runs its first part; `late` goes on from there. A policy
whose draft head is sure of itself never calls `late`.

Axes: B batch · C cameras · H, W image · S feature tokens · E width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, UInt8

from rfsq_jax.runs.checks import require_choice

EARLY = "early"
FINAL = "final"
DEPTHS = (EARLY, FINAL)

Params = Any
"""A frozen pytree of arrays."""

Inputs = dict[str, Any]
"""Arrays with a leading batch axis, made on the host by `Backbone.prepare`."""

Carry = Any
"""What `late` needs of `early`: arrays with a leading batch axis."""


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


@dataclasses.dataclass(frozen=True)
class BackboneSpec:
    """What a head may rely on.

    Attributes:
      name: what `get_backbone` knows it by.
      version: 16 hex digits over architecture, preprocessing and weights; features of another
        version are refused.
      cameras: how many pictures it sees, in the order of `libero.environment.POLICY_CAMERAS`.
      image_size: height and width, in pixels, that the simulator should draw.
      preprocessing: in words.
      depths: tokens and width by name of the depth, see `DEPTHS`.
    """

    name: str
    version: str
    cameras: int
    image_size: int
    preprocessing: str
    depths: Mapping[str, Depth]


@runtime_checkable
class Backbone(Protocol):
    """A frozen feature extractor. Deterministic; all functions are safe to call from threads."""

    @property
    def spec(self) -> BackboneSpec:
        """Shapes, preprocessing and version."""
        ...

    @property
    def params(self) -> Params:
        """The frozen weights, apart, so that a caller places or donates them as it likes."""
        ...

    def prepare(
        self,
        images: UInt8[np.ndarray, "b c h w 3"],
        instructions: Sequence[str],
        state: Float[np.ndarray, "b 8"],
    ) -> Inputs:
        """Checks the inputs and turns them into arrays; runs on the host.

        Raises:
          TypeError: for a wrong dtype.
          ValueError: for a wrong shape, an empty or too long instruction, or NaN in the state.
        """
        ...

    def early(self, params: Params, inputs: Inputs) -> tuple[Float[Array, "b s e"], Carry]:
        """The first part: early features, and what `late` goes on with. Pure, for jit."""
        ...

    def late(self, params: Params, carry: Carry) -> Float[Array, "b s e"]:
        """The rest: final features. Pure, for jit."""
        ...

    def embed(
        self,
        images: UInt8[np.ndarray, "b c h w 3"],
        instructions: Sequence[str],
        state: Float[np.ndarray, "b 8"],
        depth: str = FINAL,
    ) -> Float[Array, "b s e"]:
        """Prepares and runs, jitted, up to `depth`.

        Raises:
          TypeError, ValueError: as `prepare`; also for a depth that does not exist.
        """
        ...


def require_depth(depth: str) -> None:
    """Raises a ValueError unless `depth` is one of `DEPTHS`."""
    require_choice(depth, DEPTHS, "depth")
