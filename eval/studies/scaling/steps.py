"""The jitted steps that are compiled for pods: each for a mesh, with a fixed share per chip.

Axes: N chips.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from eval.benchmarks.device_peaks import Cost, Peak
from eval.benchmarks.openvla.cost import cost_parts, passes
from eval.benchmarks.openvla.programs import chunk
from eval.benchmarks.openvla.topologies import compile_for
from eval.studies.scaling.matmuls import matmul_flops
from rfsq_jax import rfsq
from rfsq_jax.backbones.openvla.config import OPENVLA_OFT_7B
from rfsq_jax.backbones.openvla.layout import abstract_params
from rfsq_jax.backbones.protocol import Depth
from rfsq_jax.data.action_spec import ActionSpec
from rfsq_jax.heads import network, proprio
from rfsq_jax.heads.config import CodeShape
from rfsq_jax.heads.network import HeadsShape
from rfsq_jax.parallel.sharding import Rules, batch_sharding, state_spec, tree_shardings
from rfsq_jax.training.autoencoder import training as autoencoder
from rfsq_jax.training.heads import training as heads
from rfsq_jax.training.heads.objective import Batch, make_objective
from rfsq_jax.training.loop import Update
from rfsq_jax.training.ordered import training as ordered

IMAGES, PROMPT = 2, 35
CHUNKS = 100_000
"""Chunks of a training set, which every chip holds whole."""
MOST_WEIGHTS = 0.6
"""Of a chip's memory."""


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A program for a mesh.

    Attributes:
      program: what the compiler made.
      cost: of a call, over all chips: what must be multiplied and read.
      rows: chunks or frames of a call, over all chips.
    """

    program: Any
    cost: Cost
    rows: int


@dataclasses.dataclass(frozen=True)
class Step:
    """What is compiled.

    Attributes:
      name: in the table.
      rows: of a call for each chip; a quarter is one row for four chips.
      group: how many chips of a kind split the weights.
      compile: for a mesh and so many rows.
    """

    name: str
    rows: float
    group: Callable[[Peak], int]
    compile: Callable[[Mesh, int], Compiled]


def train_autoencoder(mesh: Mesh, rows: int) -> Compiled:
    """A step of the robust autoencoder."""
    config = autoencoder.TrainingConfig(batch_size=rows)
    chunks = np.zeros((256, 8, config.model.action_dim), np.float32)
    update = autoencoder.make_update(config, ActionSpec.default(config.model.action_dim), mesh)
    state = jax.eval_shape(lambda: autoencoder.initial_state(config, chunks))
    data = jax.ShapeDtypeStruct((CHUNKS, *chunks.shape[1:]), jnp.float32)
    return _step(update, state, data, mesh, autoencoder.RULES, PartitionSpec(), rows)


def train_ordered(mesh: Mesh, rows: int) -> Compiled:
    """A step of the dense path of ordered tokens, for 8 steps of 6 dims and a gripper."""
    config = ordered.OrderedTrainingConfig(batch_size=rows)
    z = np.random.default_rng(0).normal(size=(1024, 48)).astype(np.float32)
    made = ordered.Rows(z, np.ones((len(z), 8), np.float32))
    quantizer = config.quantizer(made, 20)
    start = jax.device_get(rfsq.calibrate(quantizer, z, 0))
    update = ordered.make_update(config, quantizer, start, mesh)
    state = jax.eval_shape(lambda: ordered.initial_state(config, start))
    data = tuple(
        jax.ShapeDtypeStruct((CHUNKS, each.shape[1]), jnp.float32) for each in (z, made.context)
    )
    return _step(update, state, data, mesh, ordered.RULES, PartitionSpec(), rows)


def train_heads(mesh: Mesh, rows: int) -> Compiled:
    """A step of token heads on OpenVLA-OFT's action states."""
    config = heads.HeadsTraining(batch_size=rows)
    oft = OPENVLA_OFT_7B.oft
    assert oft is not None, "it is OFT"
    depth = Depth(oft.slots, OPENVLA_OFT_7B.llama.width, oft.slots)
    codes = CodeShape(horizon=8, dim=16, num_layers=8, num_levels=7)
    shape = HeadsShape(depth, depth, 8, 7, codes)
    statistics = proprio.ProprioStatistics(np.zeros(8, np.float32), np.ones(8, np.float32))
    objective = make_objective(config.model, config.loss, shape, statistics)
    state = jax.eval_shape(
        lambda: heads.initial_state(config, network.init(config.model, shape, jax.random.key(0)))
    )
    features = jax.ShapeDtypeStruct((rows, depth.tokens, depth.width), jnp.bfloat16)
    batch = Batch(
        features,
        features,
        jax.ShapeDtypeStruct((rows, 8), jnp.float32),
        jax.ShapeDtypeStruct((rows, 8, 7), jnp.float32),
        jax.ShapeDtypeStruct((rows, 8, 16, 8), jnp.int8),
    )
    spec = batch_sharding(mesh).spec
    return _step(heads.make_update(config, objective), state, batch, mesh, heads.RULES, spec, rows)


def see(mesh: Mesh, rows: int) -> Compiled:
    """OpenVLA-OFT from two images and proprio to a chunk: features for training, or a policy."""
    program = compile_for(mesh, OPENVLA_OFT_7B, IMAGES, chunk, PROMPT, rows, {})
    groups = mesh.size // mesh.shape["tensor"]
    costs = passes(cost_parts(OPENVLA_OFT_7B, IMAGES, PROMPT, rows))
    # Every group of chips reads all weights.
    cost = functools.reduce(Cost.__add__, costs)
    return Compiled(program, Cost(cost.flops, groups * cost.bytes), rows)


def as_few_as_hold(peak: Peak) -> int:
    """Chips that the weights fit on with room for a batch."""
    weights = 2.0 * sum(leaf.size for leaf in jax.tree.leaves(abstract_params(OPENVLA_OFT_7B)))
    return 1 << max(0, math.ceil(math.log2(weights / (MOST_WEIGHTS * peak.memory))))


STEPS = (
    Step("train.ae, robust", 4096, lambda peak: 1, train_autoencoder),
    Step("train.ae, ordered", 1024, lambda peak: 1, train_ordered),
    Step("train.heads, OFT features", 128, lambda peak: 1, train_heads),
    Step("train.features, OFT", 32, as_few_as_hold, see),
    Step("policy, OFT", 0.25, lambda peak: 4, see),
)


def _step(
    update: Update, state: Any, data: Any, mesh: Mesh, rules: Rules, spec: PartitionSpec, rows: int
) -> Compiled:
    everywhere = NamedSharding(mesh, PartitionSpec())
    placed = tree_shardings(state, mesh, rules, state_spec)

    def step(state: Any, data: Any, key: jax.Array) -> Any:
        return update(state, data, jax.random.wrap_key_data(key))

    key = jax.ShapeDtypeStruct((2,), jnp.uint32)
    jitted = jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(placed, NamedSharding(mesh, spec), everywhere),
        out_shardings=(placed, everywhere),
    )
    program = jitted.lower(state, data, key).compile()
    # Parameters and moments are read and written once, wherever they are whole.
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    copies = mesh.shape["data"]
    flops = matmul_flops(step, state, data, key)
    return Compiled(program, Cost(flops, 2.0 * copies * size), rows)
