"""What a policy is: observations in, action chunks out, whatever is inside.

Axes: B environments · T steps of a chunk · A action dims.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import jax
import numpy as np
from jaxtyping import Float

from rfsq_jax.backbones.protocol import Backbone, Inputs
from rfsq_jax.data.observations import Observations
from rfsq_jax.parallel.batching import pad_rows

Mode = Literal["greedy", "speculative", "early_exit"]

AnyPolicy = TypeVar("AnyPolicy", bound="Policy")


class Policy(abc.ABC):
    """Holds no state between calls; safe to call from threads.

    Attributes:
      backbone: the frozen backbone.
      mode: how tokens are decoded: "greedy"; "speculative", which gives the same actions; or
        "early_exit", which stops after the early part of the backbone where the draft head is sure.
      horizon: steps T of a chunk.
      kind: what its heads predict: "tokens", "bins", "regression"; of an original OFT "l1".
    """

    horizon: int
    kind: str
    backbone: Backbone
    mode: Mode = "greedy"

    @classmethod
    def from_pretrained(
        cls: type[AnyPolicy],
        path_or_name: str | Path,
        *,
        checkpoint: str | Path | None = None,
        mode: Mode = "greedy",
        backbone: Backbone | None = None,
        suites: Sequence[str] = (),
        backbone_options: Mapping[str, Any] | None = None,
    ) -> AnyPolicy:
        """Loads a bundled policy ("small"), a folder of heads, or an original model by its name.

        Args:
          path_or_name: "small", a folder that train.heads wrote, "openvla" or "openvla-oft".
          checkpoint: folder of the backbone's weights, for a backbone that has none of its own.
          mode: see the class.
          backbone: an instance to share, instead of making the one that the policy names.
          suites: LIBERO suites that will be played; of an original model's statistics, whose to
            use where it has several.
          backbone_options: further options of the backbone, by name.

        Raises:
          FileNotFoundError: if there is no such policy; it lists the names.
          ValueError: if the files are damaged, of a newer format or of another backbone, do not
            allow the mode, or an option does not suit.
        """
        from rfsq_jax.policies import loading

        given = backbone_options or {}
        policy = loading.load(path_or_name, checkpoint, mode, backbone, suites, given)
        if not isinstance(policy, cls):
            raise ValueError(
                f"{path_or_name} must be a {cls.__name__}, got {type(policy).__name__}"
            )
        return policy

    @property
    @abc.abstractmethod
    def version(self) -> str:
        """A sha256 over all that decides its actions, but the mode."""

    @property
    def blind(self) -> bool:
        """Whether it is a control that sees no images."""
        return self.backbone.spec.blind

    def act(self, observations: Observations) -> Float[np.ndarray, "b t a"]:
        """Returns a chunk for every environment: float32 [B, T, A], what the robot takes.

        Raises:
          TypeError, ValueError: for observations of wrong dtype, shape or content.
          FloatingPointError: if an action is NaN or inf, before it is made to fit the robot.
        """
        inputs = self.backbone.prepare(observations)
        state = np.asarray(observations.state, np.float32)
        chunks = self._chunks(*jax.tree.map(pad_rows, (inputs, state)))[: len(state)]
        self._require_finite(chunks)
        return self._to_robot(chunks)

    @abc.abstractmethod
    def _chunks(self, inputs: Inputs, state: Float[np.ndarray, "b 8"]) -> np.ndarray:
        """What the network says, in robot units, of prepared inputs and as many states."""

    @abc.abstractmethod
    def _to_robot(self, chunks: np.ndarray) -> Float[np.ndarray, "b t a"]:
        """Finite chunks -> float32 that the robot takes."""

    def _require_finite(self, chunks: np.ndarray) -> None:
        with np.errstate(over="ignore"):
            finite = np.isfinite(chunks.astype(np.float32))
        bad = np.flatnonzero(~finite.all(axis=(1, 2)))
        if len(bad):
            raise FloatingPointError(
                f"actions of a {self.kind} policy must be finite, got NaN or inf for sample "
                f"{bad[0]} ({len(bad)} of {len(chunks)}): its weights or statistics are damaged, "
                "or its inputs far from anything that it was trained on"
            )

    def describe(self) -> dict[str, Any]:
        """What a run's results say of it."""
        spec = self.backbone.spec
        return {
            "sha256": self.version,
            "backbone": spec.name,
            "backbone_version": spec.version,
            "mode": self.mode,
            "horizon": self.horizon,
            "kind": self.kind,
            "blind": self.blind,
        }
