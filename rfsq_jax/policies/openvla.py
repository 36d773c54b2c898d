"""OpenVLA and OpenVLA-OFT as they were published, as policies.

Axes: B environments · T steps of a chunk · A action dims, the gripper last · K action tokens.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rfsq_jax.backbones.openvla import model
from rfsq_jax.backbones.openvla.backbone import BASE, OFT, OpenVLABackbone
from rfsq_jax.backbones.openvla.prompts import decode_actions
from rfsq_jax.backbones.openvla.statistics import EPSILON
from rfsq_jax.backbones.protocol import Inputs
from rfsq_jax.policies.protocol import Policy

ORIGINALS = (BASE, OFT)


class OpenVLAPolicy(Policy):
    """Implements `Policy` with the model's own head: OFT's eight steps, or the base model's one.

    The gripper is -1 (open) or +1 (close).

    Attributes:
      model: the backbone, whose statistics also turn what it says into robot units.
    """

    def __init__(self, backbone: OpenVLABackbone) -> None:
        """Wraps the model.

        Raises:
          ValueError: if the backbone has no statistics, or shows something else than what the
            model's own actions are made of.
        """
        options = backbone.options
        if backbone.statistics is None:
            raise ValueError("statistics must name the data set whose actions the model takes")
        if options.blind or (backbone.config.oft and options.features != "actions"):
            raise ValueError(
                "an original model must see pictures and have its action states, "
                f"got blind {options.blind} and features {options.features!r}"
            )
        self.backbone = self.model = backbone
        self._statistics, oft = backbone.statistics, backbone.config.oft
        self.horizon, self.kind = (oft.horizon, "l1") if oft else (1, "tokens")
        self._answer = jax.jit(_l1_chunk(backbone) if oft else _tokens(backbone))

    def describe(self) -> dict[str, Any]:
        """What a run's results say of it."""
        return super().describe() | {"statistics": self.model.options.statistics}

    @property
    def version(self) -> str:
        """A sha256 over the model and the statistics that it answers with."""
        numbers = dataclasses.asdict(self._statistics)
        known = {name: None if x is None else x.tolist() for name, x in numbers.items()}
        text = f"{self.backbone.spec.version} {json.dumps(known, sort_keys=True)}"
        return hashlib.sha256(text.encode()).hexdigest()

    def answer(self, inputs: Inputs) -> Array:
        """Prepared inputs -> OFT's normalised actions [B, T, A], or the base's tokens [B, K]."""
        return self._answer(self.backbone.params, inputs)

    def _chunks(self, inputs: Inputs, state: Float[np.ndarray, "b 8"]) -> np.ndarray:
        return self._restore(np.asarray(self.answer(inputs)))

    def _restore(self, answer: np.ndarray) -> Float[np.ndarray, "b t a"]:
        """What the model answers -> robot units, but for the gripper."""
        if self.model.config.oft:
            return self._statistics.restore(answer.astype(np.float64), EPSILON)
        return self._statistics.restore(decode_actions(answer)[:, None])

    def _to_robot(self, chunks: np.ndarray) -> Float[np.ndarray, "b t a"]:
        actions = chunks.astype(np.float32)
        # The models say 0 for closing and 1 for opening; robosuite -1 opens and +1 closes.
        actions[..., -1] = np.where(chunks[..., -1] > 0.5, -1.0, 1.0)
        return actions


def _l1_chunk(backbone: OpenVLABackbone) -> Callable[[Any, Inputs], Float[Array, "b t a"]]:
    def chunk(params: Any, inputs: Inputs) -> Float[Array, "b t a"]:
        states = backbone.late(params, backbone.early(params, inputs)[1])
        return model.regress(params["head"], backbone.config, states).astype(jnp.float32)

    return chunk


def _tokens(backbone: OpenVLABackbone) -> Callable[[Any, Inputs], Array]:
    def tokens(params: Any, inputs: Inputs) -> Array:
        pixels = jnp.asarray(inputs["pixels"], backbone.options.dtype)
        prompt, lengths = jnp.asarray(inputs["prompt"]), jnp.asarray(inputs["lengths"])
        return model.decode(params, backbone.config, pixels, prompt, lengths)

    return tokens
