"""Heads on a frozen backbone as a policy: of tokens, and of bins or actions to compare with.

Axes: B environments · T steps of a chunk · A action dims.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from rfsq_jax.backbones.protocol import Backbone, Inputs
from rfsq_jax.heads.decoding import speculate_logits
from rfsq_jax.heads.early_exit import NEVER, early_exit
from rfsq_jax.heads.prediction import of_logits
from rfsq_jax.policies.files import describe, save_policy
from rfsq_jax.policies.parts import PolicyParts
from rfsq_jax.policies.protocol import Mode, Policy
from rfsq_jax.runs.checks import require_choice
from rfsq_jax.runs.trees import Params, flatten


class TokenPolicy(Policy):
    """Implements `Policy`.

    Attributes:
      parts: heads, tokenizer and what they were trained with.
    """

    def __init__(self, parts: PolicyParts, backbone: Backbone, mode: Mode = "greedy") -> None:
        """Joins them.

        Args:
          parts: from `files.load_policy`.
          backbone: what the heads were trained on.
          mode: see `Policy`.

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
        self.horizon, self.kind = parts.shape.horizon, parts.config.kind
        self._act = jax.jit(_actor(backbone, parts, mode))

    def save_pretrained(self, path: str | Path) -> None:
        """Writes heads and tokenizer, not the backbone; the folder is whole or absent."""
        save_policy(Path(path), self.parts)

    @property
    def blind(self) -> bool:
        """Whether heads or backbone are a control that sees no images."""
        return self.parts.config.main.blind or self.backbone.spec.blind

    @property
    def version(self) -> str:
        """A sha256 over description, weights and tokenizer."""
        tokenizer, space = None, self.parts.space.identity()
        if self.parts.tokenizer is not None:
            tokenizer, space = self.parts.tokenizer.version, None
        # Not the file's format, which may change: the number that versions began with.
        described = {
            "format_version": 2,
            **describe(self.parts),
            "space": space,
            "tokenizer": tokenizer,
        }
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
        for path, leaf in sorted(flatten(jax.device_get(self.parts.params)).items()):
            digest.update(path.encode() + np.ascontiguousarray(leaf).tobytes())
        return digest.hexdigest()

    def _chunks(self, inputs: Inputs, state: Float[np.ndarray, "b 8"]) -> np.ndarray:
        values = self._act(self.backbone.params, self.parts.params, inputs, state)
        return self.parts.space.normalization.denormalize(np.asarray(values))

    def _to_robot(self, chunks: np.ndarray) -> Float[np.ndarray, "b t a"]:
        return self.parts.space.spec.to_robot(chunks)


def _actor(backbone: Backbone, parts: PolicyParts, mode: Mode) -> Callable[..., Array]:
    """Returns a pure function of (backbone's params, heads' params, inputs, state)."""

    def act(frozen: Any, params: Params, inputs: Any, state: Array) -> Float[Array, "b t a"]:
        predictor, state = parts.predictor(params), parts.normalize_state(state)
        if mode == "early_exit":
            threshold = NEVER if parts.threshold is None else parts.threshold
            return early_exit(backbone, predictor, frozen, inputs, state, threshold).actions
        early, carry = backbone.early(frozen, inputs)
        final = backbone.late(frozen, carry)
        if mode == "speculative":
            proposal = predictor.heads.draft(early, state).argmax(axis=-1)
            logits, _ = speculate_logits(predictor.heads.main, proposal, final, state)
            prediction = of_logits(predictor.code_decoder, logits)
            return jax.numpy.asarray(prediction.actions(predictor.point_estimate))
        return predictor.main_actions(final, state)

    return act


def _check_mode(parts: PolicyParts, mode: str) -> None:
    require_choice(mode, Mode, "mode")
    if mode != "greedy" and parts.config.draft is None:
        raise ValueError(f"mode {mode!r} needs a draft head, which this policy does not have")
    if mode == "early_exit" and parts.threshold is None:
        raise ValueError("mode 'early_exit' needs a calibrated threshold, got none")
