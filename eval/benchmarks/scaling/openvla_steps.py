"""Feature extraction and policy inference with OpenVLA-OFT, in groups of chips that share weights.

Axes: B batch · T steps of a chunk · A dims.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from eval.benchmarks.device_peaks import PEAKS
from eval.benchmarks.openvla.programs import abstract_inputs
from eval.benchmarks.scaling.step import Step, by_rules, on_mesh, tree_bytes
from eval.benchmarks.scaling.training_steps import STATE_DIM, heads_shape
from rfsq_jax import ActionTokenizer
from rfsq_jax.backbones.openvla import layout
from rfsq_jax.backbones.openvla.backbone import PROMPT_BLOCK, OpenVLABackbone
from rfsq_jax.backbones.openvla.config import OPENVLA_OFT_7B, OpenVLAConfig
from rfsq_jax.backbones.openvla.options import OpenVLAOptions
from rfsq_jax.backbones.protocol import EARLY, FINAL, Inputs
from rfsq_jax.heads import network
from rfsq_jax.heads.config import HeadsConfig
from rfsq_jax.heads.prediction import Predictor
from rfsq_jax.parallel.sharding import make_mesh

CAMERAS = 2
POLICY_GROUP = 4
"""Chips that answer one robot."""


class ShapedBackbone(OpenVLABackbone):
    """The backbone's pure functions, without a checkpoint: there is nothing to load."""

    def __init__(self, config: OpenVLAConfig) -> None:
        self.config = config
        self.options = OpenVLAOptions(
            cameras=CAMERAS, features="actions", early_layer=max(1, config.llama.depth // 4)
        )


def features_step(mesh: Mesh, batch: int, config: OpenVLAConfig = OPENVLA_OFT_7B) -> Step:
    """Both depths' features, `batch` samples on each group; a group is as small as memory lets."""
    backbone, params = ShapedBackbone(config), layout.abstract_params(config)
    grouped = _groups(mesh, smallest_group(params, mesh))

    def extract(params: Any, inputs: Inputs) -> dict[str, Array]:
        early, carry = backbone.early(params, inputs)
        return {EARLY: early, FINAL: backbone.late(params, carry)}

    arguments = (by_rules(params, grouped, layout.RULES), _inputs(config, grouped, batch))
    return Step(jax.jit(extract), arguments, batch * grouped.shape["data"], grouped.shape["tensor"])


def policy_step(mesh: Mesh, batch: int, config: OpenVLAConfig = OPENVLA_OFT_7B) -> Step:
    """Observations to actions by token heads, `batch` robots on each group."""
    backbone, grouped = ShapedBackbone(config), _groups(mesh, POLICY_GROUP)
    heads, shape = HeadsConfig(), heads_shape(config)
    decoder = ActionTokenizer.from_pretrained("libero").decoder

    def act(
        frozen: Any, params: Any, inputs: Inputs, state: Float[Array, "b 8"]
    ) -> Float[Array, "b t a"]:
        _, carry = backbone.early(frozen, inputs)
        bound = network.bind(heads, shape, params)
        predictor = Predictor(bound, heads.kind, decoder, heads.point_estimate)
        return predictor.main_actions(backbone.late(frozen, carry), state)

    samples = batch * grouped.shape["data"]
    params = jax.eval_shape(lambda: network.init(heads, shape, jax.random.key(0)))
    state = jax.ShapeDtypeStruct((samples, STATE_DIM), jnp.float32)
    arguments = (
        by_rules(layout.abstract_params(config), grouped, layout.RULES),
        on_mesh(params, grouped),
        _inputs(config, grouped, batch),
        on_mesh(state, grouped, "data"),
    )
    return Step(jax.jit(act), arguments, samples, grouped.shape["tensor"])


def smallest_group(params: Any, mesh: Mesh) -> int:
    """The fewest chips, a power of two, that have as much room beside the weights as for them."""
    kind, group = mesh.devices.flat[0].device_kind, 1
    while 2 * tree_bytes(params) > group * PEAKS[kind].memory:
        group *= 2
    return group


def _groups(mesh: Mesh, tensor: int) -> Mesh:
    return make_mesh(tensor=tensor, devices=list(mesh.devices.flat))


def _inputs(config: OpenVLAConfig, mesh: Mesh, batch: int) -> Inputs:
    shapes = abstract_inputs(config, CAMERAS, PROMPT_BLOCK, batch * mesh.shape["data"])
    names = ("pixels", "prompt", "lengths", "state")
    return on_mesh(dict(zip(names, shapes, strict=True)), mesh, "data")
