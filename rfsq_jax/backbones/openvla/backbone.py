"""OpenVLA and OpenVLA-OFT as frozen backbones: pictures and an instruction to hidden states.

Axes: B batch · C cameras · H, W image · S feature tokens · E width · P image tokens.
"""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from rfsq_jax.backbones.openvla import images as pictures
from rfsq_jax.backbones.openvla import model, prompts
from rfsq_jax.backbones.openvla.checkpoint import detect, load, version_of
from rfsq_jax.backbones.openvla.config import OpenVLAConfig
from rfsq_jax.backbones.openvla.hub import resolve_checkpoint
from rfsq_jax.backbones.openvla.options import OpenVLAOptions
from rfsq_jax.backbones.openvla.statistics import Statistics, data_sets, read_statistics
from rfsq_jax.backbones.protocol import (
    EARLY,
    FINAL,
    Backbone,
    BackboneSpec,
    Carry,
    Depth,
    Inputs,
    Params,
)
from rfsq_jax.data.observations import Observations
from rfsq_jax.data.readers.jpeg import require_decoder
from rfsq_jax.parallel.sharding import make_mesh
from rfsq_jax.runs.canonical import canonical
from rfsq_jax.runs.checks import require

BASE, OFT = "openvla", "openvla-oft"
IMAGE_SIZE = 256
PROMPT_BLOCK = 40
"""Prompts are padded to a multiple: LIBERO's longest has 38 tokens, so one program serves all."""

PREPROCESSING = (
    "JPEG round trip at quality 95, lanczos3 to the model's resolution, the middle 90 % of the "
    "area stretched back, DINO's and SigLIP's normalisation; the prompt around the instruction"
)


class OpenVLABackbone(Backbone):
    """See the module; its features are in `options.dtype`.

    Attributes:
      folder: the checkpoint.
      config: its sizes.
      options: see `OpenVLAOptions`; nothing is left out.
      statistics: of `options.statistics`; None where it is None.
    """

    def __init__(self, name: str, given: OpenVLAOptions, path: str | Path | None) -> None:
        """Looks into the checkpoint; its weights are loaded when they are first asked for.

        Args:
          name: "openvla" or "openvla-oft".
          given: what of the model is shown, and how it is run.
          path: the checkpoint's folder, or its name on the Hugging Face hub.

        Raises:
          ValueError: if the folder is none of this model's checkpoints, or is damaged, or an option
            does not fit.
          DecoderMissingError: if pictures go through JPEG and simplejpeg is not installed.
        """
        if given.jpeg:
            require_decoder()
        if path is None:
            raise ValueError(f"path must be the folder of a checkpoint of {name}, got none")
        self.folder = folder = resolve_checkpoint(path)
        self.config = config = _config_of(name, folder)
        self.options = given.resolved(config, folder)
        self.statistics = self._read_statistics()
        self._tokenizer = prompts.read_tokenizer(folder)
        super().__init__(self._describe(name))
        self._mesh = _mesh_of(given.chips)
        self._lock, self._params = threading.Lock(), None

    @property
    def params(self) -> Params:
        """The frozen weights, loaded at the first use."""
        with self._lock:
            if self._params is None:
                dtype = jnp.dtype(self.options.dtype)
                self._params = load(self.folder, self.config, self._mesh, dtype)[1]
            return self._params

    def prepare(self, observations: Observations) -> Inputs:
        """Pixels, token ids and, if the model takes it, the normalised state.

        Pictures must be upright, as `Environment.render` and the readers of demonstrations give
        them; nothing is rotated. Of more cameras than the model sees, the first ones are used.

        Raises:
          TypeError, ValueError: see `data.observations`.
        """
        if getattr(observations.images, "ndim", None) == 5:
            seen = observations.images[:, : self.spec.cameras]
            observations = dataclasses.replace(observations, images=seen)
        observations.check(self.spec.cameras)
        how = (self.config.image_size, self.options.jpeg)
        pixels = [
            [pictures.prepare(each, *how) for each in sample] for sample in observations.images
        ]
        encoded = [prompts.prompt_ids(self._tokenizer, each) for each in observations.instructions]
        ids, lengths = prompts.pad_prompts(encoded, PROMPT_BLOCK)
        inputs = {"pixels": np.asarray(pixels), "prompt": ids, "lengths": lengths}
        if self._takes_state:
            assert self.statistics is not None, "checked when the backbone was made"
            inputs["state"] = self.statistics.normalize_state(observations.state).astype(np.float32)
        return inputs

    def early(self, params: Params, inputs: Inputs) -> tuple[Float[Array, "b s e"], Carry]:
        """Vision, projector and the first layers; features without the final norm."""
        sequence = self._begin(params, inputs)
        sequence = model.run(params, self.config, sequence, self._layers(EARLY))
        return model.read_off(sequence), sequence

    def late(self, params: Params, carry: Carry) -> Float[Array, "b s e"]:
        """The remaining layers; features after the final norm."""
        sequence = model.run(params, self.config, carry, self._layers(FINAL))
        return model.final_states(params, self.config, sequence)

    @property
    def _takes_state(self) -> bool:
        return self.config.oft is not None and self.config.oft.proprio

    def _read_statistics(self) -> Statistics | None:
        if self.options.statistics is not None:
            statistics = read_statistics(self.folder, self.options.statistics)
            if self._takes_state:
                _ = statistics.state_range
            return statistics
        known = ", ".join(data_sets(self.folder))
        require(not self._takes_state, "statistics", f"one of {known}", None)
        return None

    def _describe(self, name: str) -> BackboneSpec:
        config, options = self.config, self.options
        decisive = canonical(options)
        # The state's own numbers decide, not what they are called; a base model sees no state.
        # Every picture goes through JPEG once, here or before.
        for unseen in ("statistics", "chips", "jpeg"):
            decisive.pop(unseen)
        if self._takes_state and self.statistics is not None:
            decisive["state"] = [each.tolist() for each in self.statistics.state_range]
        slots = config.oft.slots if config.oft and options.features == "actions" else 1
        # Every token mixes pictures and words, so that none is left for a blind head.
        depth = Depth(tokens=slots, width=config.llama.width, image_tokens=slots)
        assert options.cameras is not None, "resolved"
        return BackboneSpec(
            name=name,
            version=version_of(self.folder, config, decisive | {"preprocessing": PREPROCESSING}),
            cameras=options.cameras,
            image_size=IMAGE_SIZE,
            preprocessing=PREPROCESSING,
            depths={EARLY: depth, FINAL: depth},
            blind=options.blind,
        )

    def _begin(self, params: Params, inputs: Inputs) -> model.Sequence:
        """What goes into the first layer."""
        pixels = jnp.asarray(inputs["pixels"], self.options.dtype)
        images = model.image_tokens(params, self.config, pixels)
        images = jnp.zeros_like(images) if self.options.blind else images
        prompt, lengths = jnp.asarray(inputs["prompt"]), jnp.asarray(inputs["lengths"])
        if self.config.oft is None:
            return model.base_sequence(params, images, prompt, lengths)
        state = jnp.asarray(inputs["state"]) if self.config.oft.proprio else None
        sequence = model.oft_sequence(params, self.config, images, prompt, lengths, state)
        read = sequence.read if self.options.features == "actions" else sequence.read[:, :1]
        return sequence._replace(read=read)

    def _layers(self, depth: str) -> range:
        early, whole = self.options.early_layer, self.config.llama.depth
        assert early is not None, "resolved"
        return range(early) if depth == EARLY else range(early, whole)


def _mesh_of(chips: int) -> Mesh:
    """This host's first devices: another host works on other pictures."""
    devices = jax.local_devices()
    require(chips <= len(devices), "chips", f"at most {len(devices)}, as there are", chips)
    return make_mesh(data=1, tensor=chips, devices=devices[:chips])


# What `backbones.get_backbone` asks for.
Options, make = OpenVLAOptions, OpenVLABackbone


def _config_of(name: str, folder: Path) -> OpenVLAConfig:
    config = detect(folder)
    kind = BASE if config.oft is None else OFT
    if kind != name:
        raise ValueError(f"path must be a checkpoint of {name}, got one of {kind}: {folder}")
    return config
