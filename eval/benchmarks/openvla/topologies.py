"""Compiles OpenVLA for a mesh of accelerators that need not be there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from eval.benchmarks.openvla.programs import abstract_inputs
from rfsq_jax.backbones.openvla.config import OpenVLAConfig
from rfsq_jax.backbones.openvla.layout import RULES, abstract_params, unstacked
from rfsq_jax.parallel.sharding import batch_sharding, tree_shardings


def compile_for(
    mesh: Mesh,
    model: OpenVLAConfig,
    images: int,
    function: Callable[..., Any],
    prompt: int,
    batch: int,
    options: dict[str, Any],
    dtype: Any = jnp.bfloat16,
    listed: bool = False,
) -> Any:
    """A program for the mesh, with the parameters where `layout.RULES` puts them."""
    params = abstract_params(model, dtype)
    if listed:
        params = jax.eval_shape(lambda params: unstacked(params, model), params)
    inputs = abstract_inputs(model, images, prompt, batch, dtype)
    shardings = tree_shardings(params, mesh, RULES), (batch_sharding(mesh),) * len(inputs)
    jitted = jax.jit(
        lambda params, inputs: function(params, model, *inputs),
        in_shardings=shardings,
        out_shardings=None if mesh.size > 1 else NamedSharding(mesh, PartitionSpec()),
    )
    with jax.set_mesh(mesh):
        return jitted.lower(params, inputs).compile(compiler_options=options)
