"""From what a robot sees to the actions it takes: backbone, heads and tokenizer as one.

Axes: B environments · C cameras · H, W image · T steps of a chunk · A action dims.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array, Float

from rfsq_jax.backbones import get_backbone
from rfsq_jax.backbones.protocol import Backbone
from rfsq_jax.data.observations import Observations
from rfsq_jax.heads import network, proprio
from rfsq_jax.heads.decoding import speculate_logits
from rfsq_jax.heads.early_exit import NEVER, early_exit
from rfsq_jax.heads.prediction import Decoder, of_logits, predict_main
from rfsq_jax.parallel.batching import pad_rows
from rfsq_jax.policies.files import PolicyParts, load_policy, resolve, save_policy

Mode = Literal["greedy", "speculative", "early_exit"]
MODES = ("greedy", "speculative", "early_exit")


class Policy:
    """Observations in, action chunks out. Holds no state between calls; safe to call from threads.

    Attributes:
      parts: heads, tokenizer and what they were trained with.
      backbone: the frozen backbone.
      mode: how codes are decoded, see `__init__`.
    """

    def __init__(self, parts: PolicyParts, backbone: Backbone, mode: Mode = "greedy") -> None:
        """Joins them.

        Args:
          parts: from `load_policy`.
          backbone: what the heads were trained on.
          mode: "greedy"; "speculative", which gives the same actions; or "early_exit", which stops
            after the early part of the backbone where the draft head is sure.

        Raises:
          ValueError: if the heads were trained on features of another backbone or version, or have
            no draft, or no calibrated threshold, where the mode needs one.
        """
        expected = (parts.backbone, parts.backbone_version)
        if (backbone.spec.name, backbone.spec.version) != expected:
            raise ValueError(
                f"backbone must be {expected[0]!r} of version {expected[1]}, "
                f"got {backbone.spec.name!r} of version {backbone.spec.version}"
            )
        _check_mode(parts, mode)
        self.parts = parts
        self.backbone = backbone
        self.mode = mode
        self._act = jax.jit(_actor(backbone, parts, mode))

    @classmethod
    def from_pretrained(
        cls,
        path_or_name: str | Path,
        backbone: Backbone | None = None,
        mode: Mode = "greedy",
        **backbone_options: Any,
    ) -> Policy:
        """Loads a bundled policy by name ("small") or a folder that `save_pretrained` wrote.

        Args:
          path_or_name: which.
          backbone: by default the one that the policy names.
          mode: see `__init__`.
          backbone_options: of the backbone that the policy names, beside those that its heads were
            trained with: `path`, for a backbone without weights of its own.

        Raises:
          FileNotFoundError: if there is no such name or folder; it lists the names.
          ValueError: if the files are damaged, of a newer format, or of another backbone, or do not
            allow the mode.
        """
        parts = load_policy(resolve(path_or_name))
        if backbone is None:
            backbone = get_backbone(
                parts.backbone, **{**parts.backbone_options, **backbone_options}
            )
        return cls(parts, backbone, mode)

    def save_pretrained(self, path: str | Path) -> None:
        """Writes heads and tokenizer, not the backbone; the folder is whole or absent."""
        save_policy(Path(path), self.parts)

    @property
    def horizon(self) -> int:
        """Steps T of a chunk."""
        return self.parts.shape.codes.horizon

    def act(self, observations: Observations) -> Float[np.ndarray, "b t a"]:
        """Returns a chunk for every environment: float32 [B, T, A], robot units, in [-1, 1].

        The gripper is -1 (open) or +1 (close).

        Raises:
          TypeError, ValueError: for observations of wrong dtype, shape or content.
        """
        inputs = self.backbone.prepare(
            observations.images, observations.instructions, observations.state
        )
        state = np.asarray(observations.state, np.float32)
        padded = jax.tree.map(padded_rows, (inputs, state))
        values = self._act(self.backbone.params, self.parts.params, *padded)
        return self._to_robot(np.asarray(values)[: len(state)])

    def _to_robot(self, values: Float[np.ndarray, "b t a"]) -> Float[np.ndarray, "b t a"]:
        actions = self.parts.tokenizer.fitted.normalization.denormalize(values)
        actions[..., -1] = np.where(actions[..., -1] > 0, 1.0, -1.0)
        return np.clip(actions, -1.0, 1.0)


def _actor(backbone: Backbone, parts: PolicyParts, mode: Mode) -> Callable[..., Array]:
    """Returns a pure function of (backbone's params, heads' params, inputs, state)."""
    config, readout = parts.config, parts.config.readout
    decoder = Decoder(parts.tokenizer.config, *parts.tokenizer.fitted[:2])

    def act(
        frozen: Any, params: network.Params, inputs: Any, state: Array
    ) -> Float[Array, "b t a"]:
        heads = network.bind(config, parts.shape, params)
        state = proprio.normalize(parts.statistics, state)
        if mode == "early_exit":
            threshold = NEVER if parts.threshold is None else parts.threshold
            result = early_exit(backbone, heads, decoder, readout, frozen, inputs, state, threshold)
            return result.actions
        early, carry = backbone.early(frozen, inputs)
        final = backbone.late(frozen, carry)
        if mode == "speculative":
            proposal = heads.draft(early, state).argmax(axis=-1)
            logits, _ = speculate_logits(heads.main, proposal, final, state)
            return of_logits(decoder, logits).read(readout)
        return predict_main(heads, config.kind, decoder, final, state).read(readout)

    return act


def _check_mode(parts: PolicyParts, mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if mode != "greedy" and parts.config.draft is None:
        raise ValueError(f"mode {mode!r} needs a draft head, which this policy does not have")
    if mode == "early_exit" and parts.threshold is None:
        raise ValueError("mode 'early_exit' needs a calibrated threshold, got none")


padded_rows = pad_rows
