"""The training steps of autoencoder, ordered tokenizer and heads, as their commands run them.

Only shapes matter, so that the data sets are shapes, too; what an update closes over is measured on
a few random rows. Axes: N rows of the data · B batch · T steps · A dims · M steps of a call.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from eval.benchmarks.scaling.step import Step, on_mesh, tree_bytes
from rfsq_jax import rfsq
from rfsq_jax.backbones.openvla.config import OPENVLA_OFT_7B, OpenVLAConfig
from rfsq_jax.backbones.openvla.model import require_oft
from rfsq_jax.backbones.protocol import Depth
from rfsq_jax.data.action_spec import ActionSpec
from rfsq_jax.data.episodes import HORIZON
from rfsq_jax.heads import network
from rfsq_jax.heads.config import CodeShape
from rfsq_jax.heads.network import HeadsShape
from rfsq_jax.heads.proprio import ProprioStatistics
from rfsq_jax.rfsq import RFSQConfig
from rfsq_jax.tokenizers.autoencoder import AutoencoderConfig
from rfsq_jax.training.autoencoder import training as autoencoder
from rfsq_jax.training.heads import training as heads
from rfsq_jax.training.heads.objective import Batch, make_objective
from rfsq_jax.training.loop import steps_runner
from rfsq_jax.training.ordered import training as ordered
from rfsq_jax.training.ordered.fitting import default_tokens
from rfsq_jax.training.state import TrainState

ROWS = 2**18
"""Of the data that is whole on every chip: about the frames of all LIBERO suites."""
FEW = 512
KEY = jax.ShapeDtypeStruct((2,), jnp.uint32)
STATE_DIM = 8


def autoencoder_step(mesh: Mesh, batch: int) -> Step:
    """The robust autoencoder's, with `batch` chunks on each chip."""
    model = AutoencoderConfig(rfsq=RFSQConfig(conditioning="layernorm"))
    config = autoencoder.TrainingConfig(model=model, batch_size=batch * mesh.size)
    chunks = jax.ShapeDtypeStruct((ROWS, HORIZON, model.action_dim), jnp.float32)
    some = np.random.default_rng(0).uniform(-1, 1, (FEW, *chunks.shape[1:])).astype(np.float32)
    update = autoencoder.make_update(config, ActionSpec.default(model.action_dim), mesh)
    state, steps = autoencoder.initial_state(config, some), config.loop.steps_per_call
    return Step(
        steps_runner(update, steps),
        tuple(on_mesh(each, mesh) for each in (state, chunks, KEY)),
        config.batch_size,
        repeats=steps,
        looked_up=tree_bytes(chunks),
    )


def ordered_step(mesh: Mesh, batch: int) -> Step:
    """The dense path's of ordered tokens, six dims that move and a gripper."""
    config = dataclasses.replace(ordered.OrderedTrainingConfig(), batch_size=batch * mesh.size)
    moving = 6
    random = np.random.default_rng(0).normal(size=(FEW, (moving + 1) * HORIZON))
    z, context = np.split(random.astype(np.float32), [moving * HORIZON], axis=1)
    quantizer = config.quantizer(ordered.Rows(z, context), default_tokens(HORIZON, moving))
    start = rfsq.calibrate(quantizer, z, config.loop.seed)
    state = TrainState.create(start.networks, config.optimizer.build(config.loop.steps))
    data = [jax.ShapeDtypeStruct((ROWS, each.shape[1]), each.dtype) for each in (z, context)]
    update, steps = ordered.make_update(config, quantizer, start, mesh), config.loop.steps_per_call
    return Step(
        steps_runner(update, steps),
        tuple(on_mesh(each, mesh) for each in (state, tuple(data), KEY)),
        config.batch_size,
        repeats=steps,
        looked_up=tree_bytes(data),
    )


def heads_step(mesh: Mesh, batch: int) -> Step:
    """That of token heads on OpenVLA-OFT's action states, which are fed to it."""
    config, shape = heads.HeadsTraining(batch_size=batch * mesh.size), heads_shape()
    steps = config.loop.steps_per_call
    statistics = ProprioStatistics(np.zeros(STATE_DIM, np.float32), np.ones(STATE_DIM, np.float32))
    objective = make_objective(config.model, config.loss, shape, statistics)
    params = jax.eval_shape(lambda: network.init(config.model, shape, jax.random.key(0)))
    state = jax.eval_shape(lambda params: heads.initial_state(config, params), params)
    fed = on_mesh(heads_batch(shape, (steps, config.batch_size)), mesh, None, ("data", "fsdp"))
    return Step(
        steps_runner(heads.make_update(config, objective), steps, fed=True),
        (on_mesh(state, mesh), fed, on_mesh(KEY, mesh)),
        config.batch_size,
        repeats=steps,
    )


def heads_shape(backbone: OpenVLAConfig = OPENVLA_OFT_7B) -> HeadsShape:
    """Of OpenVLA-OFT's action states and the robust tokenizer's codes."""
    model, slots = AutoencoderConfig(), require_oft(backbone).slots
    depth = Depth(tokens=slots, width=backbone.llama.width, image_tokens=slots)
    codes = CodeShape(HORIZON, model.rfsq.dim, model.rfsq.num_layers, model.rfsq.num_levels)
    return HeadsShape(depth, depth, HORIZON, model.action_dim, codes)


def heads_batch(shape: HeadsShape, lead: tuple[int, ...]) -> Batch:
    """Shapes of batches with these leading axes [M, B], as `HeadsData.read` gives them."""
    struct, codes = jax.ShapeDtypeStruct, shape.codes
    final, early = (
        struct((*lead, depth.tokens, depth.width), jnp.bfloat16)
        for depth in (shape.final, shape.early)
    )
    return Batch(
        final=final,
        early=early,
        state=struct((*lead, STATE_DIM), jnp.float32),
        actions=struct((*lead, shape.horizon, shape.action_dim), jnp.float32),
        targets=struct((*lead, codes.horizon, codes.dim, codes.num_layers), jnp.int8),
    )
